//! Results: rows of named figures, printed as a table or as JSON with the machine that they were measured on.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Map, Value, json};

/// One figure or name in a row.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A name; rows with the same names are runs of the same measurement.
    Name(String),
    /// A figure and how many decimals of it mean something.
    Figure(f64, usize),
    /// A figure that cannot be had here, such as the CPU time of a server on another machine.
    Unknown,
}

/// The cells of a row with their columns' names; units stand last in a name.
pub type Row = Vec<(&'static str, Cell)>;

/// What one command measured.
pub struct Report {
    /// The command line.
    pub command: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A name.
pub fn name(text: impl Into<String>) -> Cell {
    Cell::Name(text.into())
}

/// A figure with so many decimals.
pub fn figure(value: f64, decimals: usize) -> Cell {
    if value.is_finite() { Cell::Figure(value, decimals) } else { Cell::Unknown }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Name(text) => text.clone(),
            Self::Figure(value, decimals) => grouped(*value, *decimals),
            Self::Unknown => "-".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Name(text) => json!(text),
            Self::Figure(value, _) => json!(value),
            Self::Unknown => Value::Null,
        }
    }
}

/// A number with its thousands apart.
fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').map_or((&*plain, None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Rows of the same columns and names become one, each figure the median of theirs; in order of first appearance.
pub fn medians(rows: Vec<Row>) -> Vec<Row> {
    type Key = Vec<(&'static str, Option<String>)>;
    let key = |row: &Row| -> Key {
        let name = |cell: &Cell| matches!(cell, Cell::Name(_)).then(|| cell.text());
        row.iter().map(|(column, cell)| (*column, name(cell))).collect()
    };
    let mut groups: Vec<(Key, Vec<Row>)> = Vec::new();
    for row in rows {
        let key = key(&row);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    groups.into_iter().map(|(_, group)| median_row(&group)).collect()
}

fn median_row(runs: &[Row]) -> Row {
    let mut row = runs[0].clone();
    for (column, cell) in row.iter_mut().enumerate() {
        let Cell::Figure(value, _) = &mut cell.1 else { continue };
        let mut values: Vec<f64> = runs
            .iter()
            .filter_map(|run| match run[column].1 {
                Cell::Figure(value, _) => Some(value),
                _ => None,
            })
            .collect();
        values.sort_by(f64::total_cmp);
        *value = values[values.len() / 2];
    }
    row
}

impl Report {
    /// The rows as Markdown: a table for each set of columns, in order of first appearance.
    pub fn table(&self) -> String {
        let columns = |row: &Row| row.iter().map(|(column, _)| *column).collect::<Vec<_>>();
        let mut tables: Vec<Vec<&Row>> = Vec::new();
        for row in &self.rows {
            match tables.iter_mut().find(|table| columns(table[0]) == columns(row)) {
                Some(table) => table.push(row),
                None => tables.push(vec![row]),
            }
        }
        if tables.is_empty() {
            return "nothing was measured\n".to_owned();
        }
        tables.iter().map(|rows| table_of(rows)).collect::<Vec<_>>().join("\n")
    }

    /// The rows, the command and the machine.
    pub fn json(&self) -> Value {
        json!({ "command": self.command, "machine": machine(), "rows": self.json_rows() })
    }

    /// The rows alone, each an object of its columns.
    pub fn json_rows(&self) -> Value {
        let object = |row: &Row| -> Map<String, Value> {
            row.iter().map(|(column, cell)| ((*column).to_owned(), cell.json())).collect()
        };
        self.rows.iter().map(object).collect::<Vec<_>>().into()
    }
}

/// Rows of the same columns under their names, figures right-aligned.
fn table_of(rows: &[&Row]) -> String {
    let first = rows[0];
    let columns: Vec<_> = first.iter().map(|(column, _)| column.replace('_', " ")).collect();
    let lines: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|(_, cell)| cell.text()).collect()).collect();
    let width = |at: usize| {
        let cells = lines.iter().map(|line| line[at].len());
        cells.chain([columns[at].len(), 3]).max().unwrap_or(0)
    };
    let print = |cells: &[String]| -> String {
        let padded = cells.iter().enumerate().map(|(at, cell)| match first[at].1 {
            Cell::Name(_) => format!(" {cell:<w$} ", w = width(at)),
            _ => format!(" {cell:>w$} ", w = width(at)),
        });
        format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
    };
    let rule = first.iter().enumerate().map(|(at, (_, cell))| match cell {
        Cell::Name(_) => "-".repeat(width(at) + 2),
        _ => format!("{}:", "-".repeat(width(at) + 1)),
    });
    let mut table = print(&columns);
    let _ = writeln!(table, "|{}|", rule.collect::<Vec<_>>().join("|"));
    table.extend(lines.iter().map(|line| print(line)));
    table
}

/// What this machine is, in words.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value_of = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    json!({
        "cpu": value_of(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": value_of(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": read("/proc/loadavg").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_group() {
        let rows = vec![
            vec![("system", name("tidemark")), ("samples_per_s", figure(9_876_543.2, 0))],
            vec![("system", name("other")), ("samples_per_s", Cell::Unknown)],
        ];
        let table = Report { command: String::new(), rows }.table();
        let expected = "\
            | system   | samples per s |\n\
            |----------|--------------:|\n\
            | tidemark |     9,876,543 |\n\
            | other    |             - |\n";
        assert_eq!(table, expected);
        assert_eq!(grouped(-1_234.56, 1), "-1,234.6");
        assert_eq!(grouped(999.0, 0), "999");
    }

    #[test]
    fn other_columns_make_another_table() {
        let row = |system: &str, column, value| {
            vec![("system", name(system)), (column, figure(value, 0))]
        };
        let rows = vec![row("a", "cpu_ms", 1.0), row("a", "bytes", 2.0), row("b", "cpu_ms", 3.0)];
        let table = Report { command: String::new(), rows }.table();
        let lines: Vec<_> = table.lines().map(|line| line.replace(' ', "")).collect();
        let tables = ["|system|cpums|", "|a|1|", "|b|3|", "", "|system|bytes|", "|a|2|"];
        let kept: Vec<_> = lines.iter().filter(|line| !line.contains("--")).collect();
        assert_eq!(kept, tables.iter().collect::<Vec<_>>());
    }

    #[test]
    fn runs_become_their_median() {
        let run = |system: &str, value| vec![("system", name(system)), ("ms", figure(value, 0))];
        let rows = medians(vec![run("a", 5.0), run("b", 1.0), run("a", 90.0), run("a", 7.0)]);
        let figures: Vec<_> = rows.iter().map(|row| row[1].1.text()).collect();
        assert_eq!(figures, ["7", "1"]);
        let other = vec![("system", name("a")), ("bytes", figure(3.0, 0))];
        assert_eq!(medians(vec![run("a", 5.0), other]).len(), 2, "other columns are no other run");
    }
}
