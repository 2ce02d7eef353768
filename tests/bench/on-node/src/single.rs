//! One pod after another: the floor, our kernel work, a whole ADD and a whole DEL, in turn, so that all meet the same
//! weather. After each handful everything goes again, unmeasured, so that the number of pods stays what it is.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipamd_core::address::Mac;
use ipamd_core::net::TableId;
use ipamd_core::net::pod::{GATEWAY, Leg, PodWiring};
use netlink::{LinkChange, Routing};

use crate::device::{self, BENCH_GROUP};
use crate::floor::{self, FLOOR_TABLE};
use crate::namespace::Namespace;
use crate::order::{Single, Times};
use crate::plugin::Plugin;

/// Rounds between two clearings.
const HANDFUL: u32 = 20;

#[derive(Default)]
struct Took {
    floor: Vec<Duration>,
    wire: Vec<Duration>,
    add: Vec<Duration>,
    del: Vec<Duration>,
}

pub(crate) fn run(plugin: &Plugin, rounds: u32) -> Result<Single> {
    let mut took = Took::default();
    let mut done = 0;
    while done < rounds {
        let until = rounds.min(done + HANDFUL);
        handful(plugin, done..until, &mut took)?;
        done = until;
    }
    Ok(Single {
        floor: Times::of(took.floor),
        wire: Times::of(took.wire),
        add: Times::of(took.add),
        del: Times::of(took.del),
    })
}

fn handful(plugin: &Plugin, numbers: std::ops::Range<u32>, took: &mut Took) -> Result<()> {
    let before = device::count()?;
    let namespaces = |kind: &str| {
        let names = numbers.clone().map(|number| format!("{kind}{number}"));
        names
            .map(|name| Namespace::make(&name))
            .collect::<Result<Vec<_>>>()
    };
    let (floors, wires, pods) = (namespaces("floor")?, namespaces("wire")?, namespaces("single")?);
    for (number, ((for_floor, for_wire), pod)) in numbers.clone().zip(floors.iter().zip(&wires).zip(&pods)) {
        // Whoever comes first meets cold caches, so they take turns.
        if number % 2 == 0 {
            took.floor.push(floor::wire(number, for_floor.path())?);
            took.wire.push(ours(number, for_wire)?);
        } else {
            took.wire.push(ours(number, for_wire)?);
            took.floor.push(floor::wire(number, for_floor.path())?);
        }
        let name = format!("single{number}");
        let added = plugin.add(&name, pod)?;
        took.add.push(added.took);
        took.del.push(plugin.del(&name, pod, &added.document)?.took);
    }
    device::runtime()?.block_on(async {
        let host = Routing::open().context("open a netlink socket")?;
        host.delete_group(BENCH_GROUP).await.context("clear away")
    })?;
    drop((floors, wires, pods));
    device::wait_until_at_most(before)
}

/// What the plugin does between the daemon's answer and its result, compiled as in the plugin.
fn ours(number: u32, namespace: &Namespace) -> Result<Duration> {
    let wiring = wiring(number)?;
    let runtime = device::runtime()?;
    runtime.block_on(async {
        let began = Instant::now();
        hostnet::pod::wire(namespace.path(), &wiring)
            .await
            .context("wire a pod")?;
        let took = began.elapsed();
        let host = Routing::open().context("open a netlink socket")?;
        let link = host
            .link_by_name(wiring.host_name.as_str())
            .await
            .context("look for the pod's device")?;
        let index = link.context("the pod's device")?.index;
        ensure!(
            index == wiring.chosen_index(),
            "the pod's index was taken, which pods hardly ever meet"
        );
        let mark = LinkChange {
            group: Some(BENCH_GROUP),
            ..LinkChange::default()
        };
        host.change_link(index, &mark)
            .await
            .context("mark the pod's device")?;
        Ok(took)
    })
}

fn wiring(number: u32) -> Result<PodWiring> {
    // The pair's indexes follow from all but the last bits of the host end's MAC.
    let [a, b, c, d] = (number << 2).to_be_bytes();
    let base = u32::from(Ipv4Addr::new(192, 168, 128, 1));
    Ok(PodWiring {
        host_name: format!("eniwire{number}").parse().context("a device's name")?,
        host_mac: Mac([2, 3, a, b, c, d]),
        pod_name: "eth0".parse().context("a device's name")?,
        pod_mac: Mac([2, 4, a, b, c, d]),
        mtu_bytes: 9001,
        v4: Some(Leg {
            address: Ipv4Addr::from(base.wrapping_add(number)),
            gateway: GATEWAY,
            node_address: None,
        }),
        v6: None,
        table: TableId(FLOOR_TABLE),
        rules: Vec::new(),
    })
}
