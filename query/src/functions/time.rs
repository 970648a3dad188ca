//! Calendar functions, in UTC on the proleptic Gregorian calendar.

use tidemark_core::model::time::TimestampMs;

use super::signature::Function;

/// A date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// Seconds since midnight.
    second_of_day: i64,
    /// Days since 1970-01-01.
    days: i64,
}

const DAY_SECONDS: i64 = 86_400;

impl Civil {
    /// Of seconds since the epoch. Counts in 400-year eras whose years begin in March, so that the leap day is last.
    fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY_SECONDS);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil { year, month, day, second_of_day: seconds.rem_euclid(DAY_SECONDS), days }
    }

    fn is_leap_year(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    fn days_in_month(self) -> i64 {
        match self.month {
            2 if self.is_leap_year() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap_day = i64::from(self.is_leap_year() && self.month > 2);
        BEFORE[(self.month - 1) as usize] + self.day + leap_day
    }

    /// 0 is Sunday.
    fn day_of_week(self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }
}

/// The kernel of a calendar function: from seconds since the epoch.
pub fn calendar(function: Function) -> Option<fn(f64) -> f64> {
    macro_rules! field {
        ($civil:ident => $value:expr) => {
            |seconds| {
                let $civil = Civil::from_seconds(whole_seconds(seconds));
                $value as f64
            }
        };
    }
    Some(match function {
        Function::DaysInMonth => field!(c => c.days_in_month()),
        Function::DayOfMonth => field!(c => c.day),
        Function::DayOfWeek => field!(c => c.day_of_week()),
        Function::DayOfYear => field!(c => c.day_of_year()),
        Function::Hour => field!(c => c.second_of_day / 3_600),
        Function::Minute => field!(c => c.second_of_day / 60 % 60),
        Function::Month => field!(c => c.month),
        Function::Year => field!(c => c.year),
        _ => return None,
    })
}

/// As Go converts on x86-64: what an i64 cannot hold becomes its least value. Bounded so that the calendar holds.
fn whole_seconds(seconds: f64) -> i64 {
    const FAR: i64 = 1 << 55;
    if seconds.is_nan() || seconds.abs() >= 9.2e18 {
        return -FAR;
    }
    (seconds as i64).clamp(-FAR, FAR)
}

/// `2006-01-02T15:04:05Z`.
pub fn rfc3339_seconds(t: TimestampMs) -> String {
    let c = Civil::from_seconds(t / 1000);
    let (hour, minute, second) =
        (c.second_of_day / 3_600, c.second_of_day / 60 % 60, c.second_of_day % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", c.year, c.month, c.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(seconds: f64) -> Vec<f64> {
        use Function::{DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, Year};
        [Year, Month, DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute]
            .map(|f| calendar(f).unwrap()(seconds))
            .to_vec()
    }

    #[test]
    fn fields_of_known_moments() {
        assert_eq!(fields(0.0), [1970.0, 1.0, 1.0, 4.0, 1.0, 31.0, 0.0, 0.0]);
        assert_eq!(fields(1_230_768_000.5), [2009.0, 1.0, 1.0, 4.0, 1.0, 31.0, 0.0, 0.0]);
        assert_eq!(fields(1_456_790_399.0), [2016.0, 2.0, 29.0, 1.0, 60.0, 29.0, 23.0, 59.0]);
        assert_eq!(fields(-1.0), [1969.0, 12.0, 31.0, 3.0, 365.0, 31.0, 23.0, 59.0]);
        assert_eq!(rfc3339_seconds(1_456_790_399_999), "2016-02-29T23:59:59Z");
    }

    #[test]
    fn far_away_moments_do_not_panic() {
        for v in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 9e18] {
            fields(v);
        }
    }
}
