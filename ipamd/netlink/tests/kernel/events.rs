//! Notices of changes.

use netlink::events::{Changed, Events};
use netlink::nft::{Batch, Nftables, TableFlags};
use netlink::{Family, Routing, Rule};

use crate::sandbox::in_namespace;

in_namespace! {
    async fn a_rule_and_a_table_are_noticed() {
        let mut events = Events::open().unwrap();
        let here = Routing::open().unwrap();
        here.add_rule(&Rule::new(Family::V4, 513, 5120)).await.unwrap();
        assert_eq!(events.next().await.unwrap(), Changed::Rules);
        let mut batch = Batch::new(netlink::nft::Family::Inet, "t");
        batch.add_table(TableFlags::NONE);
        Nftables::open().unwrap().commit(&batch).unwrap();
        assert_eq!(events.next().await.unwrap(), Changed::Firewall);
    }
}
