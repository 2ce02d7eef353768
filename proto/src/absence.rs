//! How long the daemon has been away, as plugin and daemon tell each other by two files.
//!
//! `serving` says that a daemon of this boot could serve pods, and how long a restart may take; the daemon writes it.
//! `away` says since when nobody could be served; whoever sees that first writes it, and the daemon removes it once it
//! serves again. So a daemon that crashes over and over does not get a fresh grace with each start. Both lie on the node's
//! disk or tmpfs beside the socket; a reboot makes `serving` worthless, because it names the boot.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The two files' folder.
#[derive(Clone, Debug)]
pub struct Absence {
    folder: PathBuf,
}

/// An absence that a daemon of this boot is coming back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// How long it lasts already.
    pub so_far: Duration,
    /// How long it may last before it counts.
    pub grace: Duration,
}

impl Length {
    /// Whether it does not count yet.
    #[must_use]
    pub fn is_within_grace(&self) -> bool {
        self.so_far < self.grace
    }
}

impl Default for Absence {
    fn default() -> Self {
        Self::in_folder(Path::new(crate::BERTH))
    }
}

impl Absence {
    /// With the files in another folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Nobody is away any more; a later restart may take this long.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn end(&self, boot_id: &str, grace: Duration) -> io::Result<()> {
        self.write("serving", &format!("{boot_id} {}", grace.as_millis()))?;
        match std::fs::remove_file(self.path("away")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// The absence at this moment of CLOCK_BOOTTIME; begins it where nobody did. `None` when no daemon of this boot ever
    /// served, or that cannot be known.
    #[must_use]
    pub fn length(&self, boot_id: &str, now: Duration) -> Option<Length> {
        let serving = std::fs::read_to_string(self.path("serving")).ok()?;
        let (of_boot, grace) = serving.trim().split_once(' ')?;
        let grace = Duration::from_millis(grace.parse().ok()?);
        if of_boot != boot_id {
            return None;
        }
        let since = match std::fs::read_to_string(self.path("away")) {
            Ok(since) => Duration::from_nanos(since.trim().parse().ok()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.write("away", &now.as_nanos().to_string()).ok()?;
                now
            }
            Err(_) => return None,
        };
        Some(Length {
            so_far: now.saturating_sub(since),
            grace,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whole or not at all.
    fn write(&self, name: &str, content: &str) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let fresh = self.path(&format!(".{name}.new{}", std::process::id()));
        std::fs::write(&fresh, content)?;
        std::fs::rename(fresh, self.path(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_absence_lasts_from_its_first_sight_until_it_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let absence = Absence::in_folder(folder.path());
        assert_eq!(absence.length("this", second(1)), None, "nobody ever served");
        absence.end("this", GRACE).unwrap();
        let so_far = |now| absence.length("this", second(now)).unwrap().so_far;
        assert_eq!([so_far(10), so_far(15), so_far(70)], [0, 5, 60].map(second));
        assert!(absence.length("this", second(69)).unwrap().is_within_grace());
        assert!(!absence.length("this", second(70)).unwrap().is_within_grace());
        absence.end("this", GRACE).unwrap();
        assert_eq!(so_far(100), second(0));
        absence.end("this", Duration::ZERO).unwrap();
        assert!(
            !absence.length("this", second(100)).unwrap().is_within_grace(),
            "none at all"
        );
    }

    #[test]
    fn what_is_of_another_boot_or_torn_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let absence = Absence::in_folder(folder.path());
        absence.end("other", GRACE).unwrap();
        assert_eq!(absence.length("this", second(1)), None);
        for torn in ["", "this", "this ", "this x"] {
            std::fs::write(folder.path().join("serving"), torn).unwrap();
            assert_eq!(absence.length("this", second(1)), None, "{torn:?}");
        }
        absence.end("this", GRACE).unwrap();
        std::fs::write(folder.path().join("away"), "soon").unwrap();
        assert_eq!(absence.length("this", second(1)), None);
    }
}
