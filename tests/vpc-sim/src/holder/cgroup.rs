//! Cgroups of a run, for nodes that run containers: such a node sees a subtree of each hierarchy as the whole.
//!
//! ```text
//! <where the starter is> / vpc-sim-<its number>-<when it started> / <node> / whatever the node's runtime makes
//! ```
//!
//! Invariants: nothing outside of the run's own cgroups is changed; a run's cgroups are made when its first such node
//! boots. They are the one thing of a run that the kernel does not take away by itself, though empty: the starter
//! removes them at the end, and at its beginning those of runs whose starter was killed.
//!
//! Left out: limits, and machines that have the second version alone; their controllers would have to be passed down
//! level by level. A node boots there too, and its containers run without controllers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};

use super::Error;
use super::role::{file, make_dir, mount_with};

/// Where cgroups are mounted (systemd, and every container runtime).
const ROOT: &str = "/sys/fs/cgroup";

/// How the cgroups of runs begin.
const PREFIX: &str = "vpc-sim-";

/// A hierarchy that this process is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Its mount's options; none for the second version.
    options: Option<String>,
    /// Where it is mounted.
    mount: PathBuf,
    /// Where the process is in it.
    place: PathBuf,
}

/// The cgroups of this starter's run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    name: String,
    places: Vec<PathBuf>,
}

impl Run {
    /// Names the run after this process. Called before the machine's `/proc` is hidden.
    pub(super) fn of_this_starter() -> Self {
        let pid = std::process::id();
        let name = format!("{PREFIX}{pid}-{}", started_at(pid).unwrap_or_default());
        // A machine without cgroups has nothing to remove; a node that wants some says what is missing.
        let places = hierarchies("self").unwrap_or_default();
        Self {
            name,
            places: places.into_iter().map(|hierarchy| hierarchy.place).collect(),
        }
    }

    /// How the run's cgroups are called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Removes what the run left behind, once everything in it has ended.
    pub(super) fn remove(&self) {
        for place in &self.places {
            remove_tree(&place.join(&self.name));
        }
    }
}

/// Removes the cgroups of runs whose starters are gone. Those of living runs are not touched, empty or not.
pub(super) fn sweep() {
    for hierarchy in hierarchies("self").unwrap_or_default() {
        sweep_below(&hierarchy.mount);
    }
}

fn sweep_below(folder: &Path) {
    for child in children(folder) {
        let name = child.file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref().and_then(|name| name.strip_prefix(PREFIX)) {
            Some(starter) if !lives(starter) => remove_tree(&child),
            Some(_) => {}
            None => sweep_below(&child),
        }
    }
}

/// Whether `<number>-<start>` is a process that lives: a number alone is soon somebody else's.
fn lives(starter: &str) -> bool {
    let Some((pid, start)) = starter.split_once('-') else {
        return true;
    };
    let known = pid.parse().ok().and_then(started_at);
    known.is_some_and(|at| at.to_string() == start)
}

/// When a process started, in ticks since boot (proc_pid_stat(5), field 22); nothing of one that has ended, though nobody
/// has buried it yet.
fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, second, may hold anything but ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let lives = !matches!(fields.next()?, "Z" | "X");
    fields.nth(18).filter(|_| lives)?.parse().ok()
}

/// Empty cgroups are removed bottom up; one that is not empty stays, and the next sweep finds it.
fn remove_tree(folder: &Path) {
    for child in children(folder) {
        remove_tree(&child);
    }
    drop(fs::remove_dir(folder));
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Moves this process into fresh cgroups of a node and makes them the root of what it sees.
pub(crate) fn enter_new(run: &str, node: &str) -> Result<(), Error> {
    for hierarchy in hierarchies("self")? {
        let shared = hierarchy.place.join(run);
        let own = shared.join(node);
        // What the node left there before a reboot.
        remove_tree(&own);
        create(&shared)?;
        create(&own)?;
        move_into(&own)?;
    }
    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(|source| Error::System {
        attempt: "make a node's cgroup namespace",
        source,
    })
}

/// Makes a cgroup. A new one of `cpuset` has no processors and no memory, and nothing can be moved there.
fn create(folder: &Path) -> Result<(), Error> {
    make_dir(folder)?;
    for setting in ["cpuset.cpus", "cpuset.mems"] {
        let above = folder.parent().unwrap_or(folder).join(setting);
        let Ok(value) = fs::read_to_string(&above) else {
            continue;
        };
        let own = folder.join(setting);
        if fs::read_to_string(&own).is_ok_and(|now| now.trim().is_empty()) && !value.trim().is_empty() {
            fs::write(&own, value.trim()).map_err(|source| file("write", &own, source))?;
        }
    }
    Ok(())
}

/// Moves this process.
fn move_into(folder: &Path) -> Result<(), Error> {
    let list = folder.join("cgroup.procs");
    fs::write(&list, "0").map_err(|source| file("move into the cgroup of", &list, source))
}

/// Moves this process to where another is, and makes that one's view of cgroups its own.
pub(super) fn join(pid: u32) -> Result<(), Error> {
    // All are read before the first move, which changes what is read.
    for hierarchy in hierarchies(&pid.to_string())? {
        move_into(&hierarchy.place)?;
    }
    Ok(())
}

/// Mounts the hierarchies below `root`, the root of a node to be, as this process's cgroup namespace shows them.
pub(crate) fn mount_below(root: &Path) -> Result<(), Error> {
    let hierarchies = hierarchies("self")?;
    let top = root.join(ROOT.trim_start_matches('/'));
    if hierarchies
        .iter()
        .all(|hierarchy| hierarchy.mount != Path::new(ROOT))
    {
        mount_with("tmpfs", &top, Some("tmpfs"), MsFlags::empty(), None)?;
    }
    for hierarchy in hierarchies {
        let Ok(below) = hierarchy.mount.strip_prefix(ROOT) else {
            continue;
        };
        let place = top.join(below);
        make_dir(&place)?;
        let kind = if hierarchy.options.is_some() {
            "cgroup"
        } else {
            "cgroup2"
        };
        mount_with(
            kind,
            &place,
            Some(kind),
            MsFlags::empty(),
            hierarchy.options.as_deref(),
        )?;
    }
    Ok(())
}

/// The hierarchies that are mounted here and that a process has a place in.
fn hierarchies(process: &str) -> Result<Vec<Hierarchy>, Error> {
    let read = |path: String| {
        let text = fs::read_to_string(&path);
        text.map_err(|source| file("read", Path::new(&path), source))
    };
    let mounts = read("/proc/self/mountinfo".to_owned())?;
    let places = read(format!("/proc/{process}/cgroup"))?;
    let found: Vec<Hierarchy> = places
        .lines()
        .filter_map(|line| hierarchy(&mounts, line))
        .collect();
    if found.is_empty() {
        let none = io::Error::new(io::ErrorKind::NotFound, "no cgroup hierarchy is mounted");
        return Err(file("look for cgroups in", Path::new(ROOT), none));
    }
    Ok(found)
}

/// What a line of `/proc/<pid>/cgroup`, `number:controllers:path`, means here (cgroups(7)). A hierarchy that is not
/// mounted cannot be used.
fn hierarchy(mounts: &str, line: &str) -> Option<Hierarchy> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, mount) = mounts.lines().find_map(|mount| mount_of(controllers, mount))?;
    // A container may have but a part of the hierarchy; a fresh namespace sees the mounts of before from below.
    let below = match Path::new(path).strip_prefix(root) {
        Ok(below) => below,
        Err(_) if root.starts_with("/..") => Path::new(""),
        Err(_) => return None,
    };
    Some(Hierarchy {
        options: match controllers {
            "" => None,
            name if name.starts_with("name=") => Some(format!("none,{name}")),
            _ => Some(controllers.to_owned()),
        },
        mount: mount.into(),
        place: Path::new(mount).join(below),
    })
}

/// Root and place of a mount, if it is of the hierarchy with these controllers; without any it is the second version's.
/// A line is `36 35 0:29 ROOT PLACE OPTIONS [TAG...] - TYPE SOURCE OPTIONS` (proc_pid_mountinfo(5)).
fn mount_of<'a>(controllers: &str, line: &'a str) -> Option<(&'a str, &'a str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, place) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let has = |wanted| options.split(',').any(|option| option == wanted);
    let fits = match controllers {
        "" => kind == "cgroup2",
        some => kind == "cgroup" && some.split(',').all(has),
    };
    fits.then_some((root, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 1 0:22 / /sys rw - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /docker/1f /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 /../.. /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn lines_of_proc_are_found_among_the_mounts() {
        let rows = [
            (
                "both controllers of one hierarchy",
                "3:cpu,cpuacct:/a",
                "cpu,cpuacct",
                "cpu,cpuacct/a",
            ),
            (
                "a part of the hierarchy",
                "4:memory:/docker/1f/b",
                "memory",
                "memory/b",
            ),
            (
                "a hierarchy with a name only",
                "9:name=systemd:/",
                "none,name=systemd",
                "systemd",
            ),
            ("the second version", "0::/user.slice", "", "unified/user.slice"),
        ];
        for (what, line, options, place) in rows {
            let found = hierarchy(MOUNTS, line).unwrap();
            assert_eq!(found.options.unwrap_or_default(), options, "{what}");
            assert_eq!(found.place, Path::new(ROOT).join(place), "{what}");
        }
        assert_eq!(hierarchy(MOUNTS, "5:pids:/"), None, "not mounted");
        assert_eq!(
            hierarchy(MOUNTS, "4:memory:/elsewhere"),
            None,
            "outside of what is mounted"
        );
    }

    #[test]
    fn a_run_lives_as_long_as_the_very_process_that_started_it() {
        let pid = std::process::id();
        let started = started_at(pid).unwrap();
        assert!(lives(&format!("{pid}-{started}")));
        assert!(
            !lives(&format!("{pid}-{}", started + 1)),
            "the number belongs to somebody else now"
        );
        assert!(!lives("4294967295-1"), "nobody has this number");
        assert!(lives("strange"), "what we did not make stays");
    }

    #[test]
    fn only_runs_without_a_starter_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let pid = std::process::id();
        let living = root.join(format!("a/{PREFIX}{pid}-{}/n1", started_at(pid).unwrap()));
        let dead = root.join(format!("a/b/{PREFIX}{pid}-0/n1/pods"));
        let other = root.join("a/other");
        for folder in [&living, &dead, &other] {
            fs::create_dir_all(folder).unwrap();
        }
        sweep_below(root);
        assert!(living.exists() && other.exists());
        assert!(!root.join(format!("a/b/{PREFIX}{pid}-0")).exists());
    }
}
