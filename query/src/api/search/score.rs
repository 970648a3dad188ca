//! How well a name fits what was typed: from 0, not at all, to 1.
//!
//! Two ways, both Prometheus': a *subsequence* has all typed characters in order, and long runs of them count most; with
//! *Jaro-Winkler* the text is found as it is, the earlier the better, or else is similar enough. A text is compared with itself
//! shifted, so the time grows with the square of its length: past [`SEARCH_TEXT_MAX`] characters it is only looked for.

use crate::limits::SEARCH_TEXT_MAX;

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Subsequence,
    JaroWinkler,
}

impl Algorithm {
    /// All, by name; the first is the default.
    pub(super) const ALL: [(&str, Algorithm); 2] =
        [("subsequence", Algorithm::Subsequence), ("jarowinkler", Algorithm::JaroWinkler)];
}

/// What a search looks for.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    terms: Vec<Term>,
    algorithm: Algorithm,
    /// The least score of what is similar.
    threshold: f64,
    case_sensitive: bool,
}

#[derive(Clone, Debug)]
struct Term {
    text: String,
    chars: Vec<char>,
}

impl Filter {
    /// Looks for any of the terms that are not empty; without one, for everything.
    pub(super) fn new<'a>(
        terms: impl Iterator<Item = &'a str>,
        algorithm: Algorithm,
        threshold: f64,
        case_sensitive: bool,
    ) -> Self {
        let term = |term: &str| {
            let text = if case_sensitive { term.to_owned() } else { term.to_lowercase() };
            Term { chars: text.chars().collect(), text }
        };
        let terms = terms.filter(|term| !term.is_empty()).map(term).collect();
        Filter { terms, algorithm, threshold, case_sensitive }
    }

    /// The score of the term that fits best, if any does.
    pub(super) fn score(&self, value: &str) -> Option<f64> {
        if self.terms.is_empty() {
            return Some(1.0);
        }
        if self.case_sensitive {
            return self.best(value);
        }
        self.best(&value.to_lowercase())
    }

    fn best(&self, value: &str) -> Option<f64> {
        let chars: Vec<char> = value.chars().collect();
        let scores = self.terms.iter().filter_map(|term| self.score_of(term, value, &chars));
        scores.max_by(f64::total_cmp)
    }

    fn score_of(&self, term: &Term, value: &str, chars: &[char]) -> Option<f64> {
        let comparable = chars.len() <= SEARCH_TEXT_MAX;
        match self.algorithm {
            Algorithm::Subsequence if value.starts_with(&term.text) => Some(1.0),
            Algorithm::Subsequence if comparable => {
                let score = subsequence(&term.chars, chars);
                (score > 0.0 && score >= self.threshold).then_some(score)
            }
            Algorithm::Subsequence => substring(term, value, chars.len()),
            Algorithm::JaroWinkler => substring(term, value, chars.len()).or_else(|| {
                let fuzzy = comparable && self.threshold > 0.0;
                let score = if fuzzy { jaro_winkler(&term.chars, chars) } else { 0.0 };
                (fuzzy && score >= self.threshold).then_some(score)
            }),
        }
    }
}

/// 1 for a beginning, down to 0.1 for an end.
fn substring(term: &Term, value: &str, length: usize) -> Option<f64> {
    let at = value.find(&term.text)?;
    let before = value[..at].chars().count();
    let before_max = length - term.chars.len();
    Some(if before == 0 { 1.0 } else { 1.0 - 0.9 * before as f64 / before_max as f64 })
}

/// What is not equal scores less than 1, whatever else.
const NOT_EQUAL: f64 = 0.999;

/// The square of each run of typed characters, less the gaps between them, over the square of what was typed; 0 if some are
/// missing. Runs are taken as they come from each place where the first character stands; the best place counts.
fn subsequence(term: &[char], text: &[char]) -> f64 {
    if term == text {
        return 1.0;
    }
    let (Some(first), Some(last_start)) = (term.first(), text.len().checked_sub(term.len())) else {
        return 0.0;
    };
    let mut best = -1.0_f64;
    for start in (0..=last_start).filter(|start| text[*start] == *first) {
        // Where it is not found from here, it is not from further on.
        let Some(score) = score_from(start, term, text) else { break };
        best = best.max(score);
    }
    if best < 0.0 { 0.0 } else { best / (term.len() * term.len()) as f64 * NOT_EQUAL }
}

fn score_from(start: usize, term: &[char], text: &[char]) -> Option<f64> {
    let unit = 1.0 / text.len() as f64;
    let (mut score, mut found, mut at, mut end) = (0.0, 0, start, 0);
    while found < term.len() {
        at += text[at..].iter().position(|c| *c == term[found])?;
        let run = text[at..].iter().zip(&term[found..]).take_while(|(a, b)| a == b).count();
        score -= (at - end) as f64 * unit;
        score += (run * run) as f64;
        at += run;
        found += run;
        end = at;
    }
    Some(score - (text.len() - end) as f64 * unit * 0.5)
}

/// The Jaro similarity, raised for a common beginning of up to four characters.
fn jaro_winkler(a: &[char], b: &[char]) -> f64 {
    if a == b {
        return 1.0;
    }
    let (short, long) = if a.len() > b.len() { (b, a) } else { (a, b) };
    let reach = (long.len() / 2).saturating_sub(1);
    let mut taken = vec![false; long.len()];
    let mut matched = Vec::new();
    for (i, c) in short.iter().enumerate() {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(long.len());
        if let Some(j) = near.into_iter().find(|&j| !taken[j] && long[j] == *c) {
            taken[j] = true;
            matched.push(*c);
        }
    }
    if matched.is_empty() {
        return 0.0;
    }
    let others = long.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(c, _)| c);
    let transposed = matched.iter().zip(others).filter(|(a, b)| a != b).count() as f64;
    let matches = matched.len() as f64;
    let (short_part, long_part) = (1.0 / short.len() as f64, 1.0 / long.len() as f64);
    let jaro =
        (matches * short_part + matches * long_part + (matches - transposed * 0.5) / matches) / 3.0;
    let common = short.iter().zip(long).take(4).take_while(|(a, b)| a == b).count();
    jaro + common as f64 * 0.1 * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(algorithm: Algorithm, threshold: f64, terms: &[&str], value: &str) -> Option<f64> {
        let score = Filter::new(terms.iter().copied(), algorithm, threshold, false).score(value);
        score.map(|score| (score * 1e6).round() / 1e6)
    }

    #[test]
    fn subsequences() {
        let score = |term: &str, value: &str| scored(Algorithm::Subsequence, 0.0, &[term], value);
        assert_eq!(score("http", "http_requests_total"), Some(1.0), "a beginning");
        assert_eq!(score("HTTP", "http_requests_total"), Some(1.0), "small letters");
        assert_eq!(score("", "anything"), Some(1.0));
        assert_eq!(score("xyz", "http_requests_total"), None);
        assert_eq!(score("up", "u"), None, "longer than the value");
        // "tot" is one run with 14 characters before it and 2 after: (9 - 14/19 - 1/19) / 9 * 0.999.
        assert_eq!(score("tot", "http_requests_total"), Some(0.911_368));
        assert!(score("hrt", "http_requests_total") < score("req", "http_requests_total"));
        // (4 - 1/4 - 1/8) / 4 * 0.999.
        assert_eq!(score("né", "ünér"), Some(0.905_344), "characters, not bytes");
        let long = format!("{}b{}", "a".repeat(SEARCH_TEXT_MAX), "c".repeat(9));
        assert_eq!(score("ac", &long), None, "too long to compare");
        assert!(score("bc", &long).is_some(), "but it is looked for");
    }

    #[test]
    fn similar_texts() {
        let score = |threshold, term: &str, value: &str| {
            scored(Algorithm::JaroWinkler, threshold, &[term], value)
        };
        assert_eq!(score(0.0, "quests", "http_requests_total"), Some(0.515_385), "found as it is");
        assert_eq!(score(0.0, "martha", "marhta"), None, "no likeness is asked for");
        // The textbook's examples.
        assert_eq!(score(0.5, "martha", "marhta"), Some(0.961_111));
        assert_eq!(score(0.5, "dixon", "dicksonx"), Some(0.813_333));
        assert_eq!(score(0.9, "dixon", "dicksonx"), None);
        assert_eq!(score(0.1, "abc", "xyz"), None);
    }

    #[test]
    fn the_best_of_several_terms_counts() {
        let score = scored(Algorithm::Subsequence, 0.0, &["xyz", "tot", "http"], "http_total");
        assert_eq!(score, Some(1.0));
        assert_eq!(scored(Algorithm::Subsequence, 0.95, &["tot"], "http_requests_total"), None);
    }
}
