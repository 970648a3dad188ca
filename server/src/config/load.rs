//! From files to a checked [`Config`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_saphyr::Spanned;

use super::section::Fault;
use super::{Config, ScrapeConfigFile};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ConfigError {
    /// The file, as it was named.
    pub(crate) file: String,
    /// Line and column, from 1; none where the whole file is meant.
    pub(crate) place: Option<(u64, u64)>,
    /// What.
    pub(crate) message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// An element of a list that remembers where it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placed<T> {
    value: T,
    place: Option<(u64, u64)>,
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        let place = Some((spanned.referenced.line(), spanned.referenced.column()));
        Ok(Placed { value: spanned.value, place })
    }
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// Reads and checks `path`, and the files that its `scrape_config_files` names.
pub(crate) fn load_file(path: &Path) -> Result<Config, ConfigError> {
    let directory = path.parent().unwrap_or(Path::new(""));
    load_text(&path.to_string_lossy(), &read(path)?, directory)
}

/// As [`load_file`], from a text; `file` is its name in errors, `directory` what relative names refer to.
pub(crate) fn load_text(file: &str, text: &str, directory: &Path) -> Result<Config, ConfigError> {
    let mut config: Config = parse(file, text)?;
    config.global.fill_timeout();
    let missing = |name: &str| std::env::var(name).unwrap_or_default();
    config.global.expand_external_labels(missing);
    config.set_directory(directory);
    check_patterns(file, &config)?;
    let mut jobs = resolve_jobs(file, &mut config)?;
    add_job_files(&mut config, &mut jobs)?;
    check_other_sections(file, &config)?;
    Ok(config)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let error = |message: String| ConfigError {
        file: path.to_string_lossy().into_owned(),
        place: None,
        message,
    };
    let size = std::fs::metadata(path).map_err(|e| error(e.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(error(format!("{size} bytes, and at most {FILE_BYTES_MAX} are read")));
    }
    let bytes = std::fs::read(path).map_err(|e| error(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| error(format!("not UTF-8 text: {e}")))
}

/// Parses one document; the place is taken from the text that [`mod@super::section`] put in front, or from the parser.
fn parse<T: for<'de> Deserialize<'de>>(file: &str, text: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let whole = error.without_snippet().to_string();
        let parser = error.location().map(|l| (l.line(), l.column()));
        let suffix = parser.map(|(line, column)| format!(" at line {line}, column {column}"));
        let message = suffix.and_then(|s| whole.strip_suffix(&s)).unwrap_or(&whole);
        let (place, message) = match leading_place(message) {
            Some((place, rest)) => (Some(place), rest),
            None => (parser, message),
        };
        let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
        ConfigError { file: file.to_owned(), place, message: message.to_owned() }
    })
}

fn leading_place(message: &str) -> Option<((u64, u64), &str)> {
    let (line, rest) = message.split_once(':')?;
    let (column, rest) = rest.split_once(": ")?;
    Some(((line.parse().ok()?, column.parse().ok()?), rest))
}

fn placed_error<T>(file: &str, element: &Placed<T>, message: String) -> ConfigError {
    ConfigError { file: file.to_owned(), place: element.place, message }
}

/// Lets every job inherit, and checks that names are unique; returns the names and the file of each.
fn resolve_jobs(file: &str, config: &mut Config) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut seen = BTreeMap::new();
    for job in &mut config.scrape_configs {
        let resolved = job.value.inherit(&config.global);
        resolved.map_err(|Fault { message, .. }| placed_error(file, job, message))?;
        if seen.insert(job.job_name.clone(), file.to_owned()).is_some() {
            let message = format!("found multiple scrape configs with job name {:?}", job.job_name);
            return Err(placed_error(file, job, message));
        }
    }
    Ok(seen)
}

/// Reads what `scrape_config_files` names; the jobs join those of the main file.
fn add_job_files(
    config: &mut Config,
    seen: &mut BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for path in
        config.scrape_config_files.clone().iter().flat_map(|pattern| matching_files(pattern))
    {
        let file = path.to_string_lossy().into_owned();
        let part: ScrapeConfigFile = parse(&file, &read(&path)?)?;
        for mut job in part.scrape_configs {
            let resolved = job.value.inherit(&config.global);
            resolved.map_err(|Fault { message, .. }| placed_error(&file, &job, message))?;
            if let Some(first) = seen.insert(job.job_name.clone(), file.clone()) {
                let message = format!(
                    "found multiple scrape configs with job name {:?}, first found in {first}",
                    job.job_name
                );
                return Err(placed_error(&file, &job, message));
            }
            super::Directory::set_directory(&mut job.value, path.parent().unwrap_or(Path::new("")));
            config.scrape_configs.push(job);
        }
    }
    Ok(())
}

/// The files that match a pattern with at most one `*` in its last element, in order; a plain name matches itself.
pub(crate) fn matching_files(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (directory, prefix) = match before.rfind('/') {
        Some(at) => (&before[..=at], &before[at + 1..]),
        None => (".", before),
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.len() >= prefix.len() + after.len()
                && name.starts_with(prefix)
                && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn check_patterns(file: &str, config: &Config) -> Result<(), ConfigError> {
    let good = |path: &str| match path.split_once('*') {
        Some((_, after)) => !after.contains(['/', '*']),
        None => true,
    };
    let named = [("rule", &config.rule_files), ("scrape config", &config.scrape_config_files)];
    for (kind, files) in named {
        if let Some(bad) = files.iter().find(|path| !good(path)) {
            let message = format!("invalid {kind} file path {bad:?}");
            return Err(ConfigError { file: file.to_owned(), place: None, message });
        }
    }
    Ok(())
}

/// What spans several sections but jobs.
fn check_other_sections(file: &str, config: &Config) -> Result<(), ConfigError> {
    let legacy = config.global.legacy_names();
    let whole = |message: String| ConfigError { file: file.to_owned(), place: None, message };
    for rule in config.alerting.relabel_rules() {
        rule.check_names(legacy).map_err(|f| whole(f.message))?;
    }
    for (i, remote) in config.remote_write.iter().enumerate() {
        for rule in &remote.write_relabel_configs {
            rule.check_names(legacy).map_err(|f| placed_error(file, remote, f.message))?;
        }
        let twice = config.remote_write[..i].iter().any(|earlier| earlier.name == remote.name);
        if twice && !remote.name.is_empty() {
            let message =
                format!("found multiple remote write configs with job name {:?}", remote.name);
            return Err(placed_error(file, remote, message));
        }
    }
    for (i, remote) in config.remote_read.iter().enumerate() {
        let twice = config.remote_read[..i].iter().any(|earlier| earlier.name == remote.name);
        if twice && !remote.name.is_empty() {
            let message =
                format!("found multiple remote read configs with job name {:?}", remote.name);
            return Err(placed_error(file, remote, message));
        }
    }
    if legacy && config.otlp.leaves_utf8() {
        return Err(whole(format!(
            "OTLP translation strategy {:?} is not allowed when UTF8 is disabled",
            config.otlp.translation_strategy
        )));
    }
    Ok(())
}
