//! Times as AWS writes them.

use std::time::Duration;

/// `2026-01-01T00:00:00.000Z`, from the time since 1970. The calendar is Howard Hinnant's `civil_from_days`.
#[must_use]
pub fn iso8601(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000Z"),
            (1_795_305_599, "2026-11-21T23:59:59.000Z"),
        ];
        for (seconds, text) in rows {
            assert_eq!(iso8601(Duration::from_secs(seconds)), text);
        }
        assert!(iso8601(Duration::from_millis(1)).ends_with("00.001Z"));
    }
}
