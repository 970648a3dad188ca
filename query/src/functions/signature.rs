//! The one table of PromQL's functions: names, argument types, results.
//!
//! The parser checks calls against it; the evaluator matches on [`Function`] to find the implementation. To add a
//! function, add its line here and its arm there; nothing else knows the set.

use crate::parser::ast::ValueType::{self, Matrix, Scalar, String as Text, Vector};

/// What a function takes and gives.
#[derive(Debug)]
pub struct Signature {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// Types of the arguments. Of a variadic function, the last one is that of all further ones.
    pub args: &'static [ValueType],
    /// How far the number of arguments may differ from `args`.
    pub variadic: Variadic,
    /// Type of the result.
    pub returns: ValueType,
    /// Whether it stands behind the flag for experimental functions.
    pub experimental: bool,
}

/// How many arguments a function takes, compared with the length of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Exactly the list.
    No,
    /// The last of the list is optional, and may occur up to this many times in all.
    UpTo(usize),
    /// The last of the list is optional, and may occur any number of times.
    Any,
}

impl Signature {
    /// The least number of arguments.
    pub fn args_min(&self) -> usize {
        self.args.len() - usize::from(self.variadic != Variadic::No)
    }

    /// The greatest number of arguments, if there is one.
    pub fn args_max(&self) -> Option<usize> {
        match self.variadic {
            Variadic::No => Some(self.args.len()),
            Variadic::UpTo(n) => Some(self.args.len() - 1 + n),
            Variadic::Any => None,
        }
    }

    /// The type that argument number `i` must have.
    pub fn arg_type(&self, i: usize) -> Option<ValueType> {
        self.args.get(i).or(self.args.last()).copied()
    }
}

/// Lists every function once; gives the enum and, in the same order, the signatures.
macro_rules! functions {
    ($($id:ident $name:literal [$($arg:ident),*] $variadic:expr => $returns:ident $experimental:literal;)*) => {
        /// A function of PromQL.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // the name is the documentation; see the table
        pub enum Function { $($id,)* }

        impl Function {
            /// All of them, in order of their names.
            pub const ALL: &'static [Function] = &[$(Function::$id,)*];
        }

        static SIGNATURES: &[Signature] = &[$(Signature {
            name: $name,
            args: &[$($arg),*],
            variadic: $variadic,
            returns: $returns,
            experimental: $experimental,
        },)*];
    };
}

const FIX: Variadic = Variadic::No;
const OPT: Variadic = Variadic::UpTo(1);
const ANY: Variadic = Variadic::Any;

functions! {
    Abs "abs" [Vector] FIX => Vector false;
    Absent "absent" [Vector] FIX => Vector false;
    AbsentOverTime "absent_over_time" [Matrix] FIX => Vector false;
    Acos "acos" [Vector] FIX => Vector false;
    Acosh "acosh" [Vector] FIX => Vector false;
    Asin "asin" [Vector] FIX => Vector false;
    Asinh "asinh" [Vector] FIX => Vector false;
    Atan "atan" [Vector] FIX => Vector false;
    Atanh "atanh" [Vector] FIX => Vector false;
    AvgOverTime "avg_over_time" [Matrix] FIX => Vector false;
    Ceil "ceil" [Vector] FIX => Vector false;
    Changes "changes" [Matrix] FIX => Vector false;
    Clamp "clamp" [Vector, Scalar, Scalar] FIX => Vector false;
    ClampMax "clamp_max" [Vector, Scalar] FIX => Vector false;
    ClampMin "clamp_min" [Vector, Scalar] FIX => Vector false;
    Cos "cos" [Vector] FIX => Vector false;
    Cosh "cosh" [Vector] FIX => Vector false;
    CountOverTime "count_over_time" [Matrix] FIX => Vector false;
    DayOfMonth "day_of_month" [Vector] OPT => Vector false;
    DayOfWeek "day_of_week" [Vector] OPT => Vector false;
    DayOfYear "day_of_year" [Vector] OPT => Vector false;
    DaysInMonth "days_in_month" [Vector] OPT => Vector false;
    Deg "deg" [Vector] FIX => Vector false;
    Delta "delta" [Matrix] FIX => Vector false;
    Deriv "deriv" [Matrix] FIX => Vector false;
    DoubleExponentialSmoothing "double_exponential_smoothing" [Matrix, Scalar, Scalar] FIX => Vector true;
    End "end" [] FIX => Scalar true;
    Exp "exp" [Vector] FIX => Vector false;
    FirstOverTime "first_over_time" [Matrix] FIX => Vector false;
    Floor "floor" [Vector] FIX => Vector false;
    HistogramAvg "histogram_avg" [Vector] FIX => Vector false;
    HistogramCount "histogram_count" [Vector] FIX => Vector false;
    HistogramFraction "histogram_fraction" [Scalar, Scalar, Vector] FIX => Vector false;
    HistogramQuantile "histogram_quantile" [Scalar, Vector] FIX => Vector false;
    HistogramQuantiles "histogram_quantiles" [Vector, Text, Scalar, Scalar] Variadic::UpTo(9) => Vector true;
    HistogramStddev "histogram_stddev" [Vector] FIX => Vector false;
    HistogramStdvar "histogram_stdvar" [Vector] FIX => Vector false;
    HistogramSum "histogram_sum" [Vector] FIX => Vector false;
    Hour "hour" [Vector] OPT => Vector false;
    Idelta "idelta" [Matrix] FIX => Vector false;
    Increase "increase" [Matrix] FIX => Vector false;
    Info "info" [Vector, Vector] OPT => Vector true;
    Irate "irate" [Matrix] FIX => Vector false;
    LabelJoin "label_join" [Vector, Text, Text, Text] ANY => Vector false;
    LabelReplace "label_replace" [Vector, Text, Text, Text, Text] FIX => Vector false;
    LastOverTime "last_over_time" [Matrix] FIX => Vector false;
    Ln "ln" [Vector] FIX => Vector false;
    Log10 "log10" [Vector] FIX => Vector false;
    Log2 "log2" [Vector] FIX => Vector false;
    MadOverTime "mad_over_time" [Matrix] FIX => Vector true;
    MaxOf "max_of" [Scalar, Scalar] FIX => Scalar true;
    MaxOverTime "max_over_time" [Matrix] FIX => Vector false;
    MinOf "min_of" [Scalar, Scalar] FIX => Scalar true;
    MinOverTime "min_over_time" [Matrix] FIX => Vector false;
    Minute "minute" [Vector] OPT => Vector false;
    Month "month" [Vector] OPT => Vector false;
    Pi "pi" [] FIX => Scalar false;
    PredictLinear "predict_linear" [Matrix, Scalar] FIX => Vector false;
    PresentOverTime "present_over_time" [Matrix] FIX => Vector false;
    QuantileOverTime "quantile_over_time" [Scalar, Matrix] FIX => Vector false;
    Rad "rad" [Vector] FIX => Vector false;
    Range "range" [] FIX => Scalar true;
    Rate "rate" [Matrix] FIX => Vector false;
    Resets "resets" [Matrix] FIX => Vector false;
    Round "round" [Vector, Scalar] OPT => Vector false;
    Scalar "scalar" [Vector] FIX => Scalar false;
    Sgn "sgn" [Vector] FIX => Vector false;
    Sin "sin" [Vector] FIX => Vector false;
    Sinh "sinh" [Vector] FIX => Vector false;
    Sort "sort" [Vector] FIX => Vector false;
    SortByLabel "sort_by_label" [Vector, Text] ANY => Vector true;
    SortByLabelDesc "sort_by_label_desc" [Vector, Text] ANY => Vector true;
    SortDesc "sort_desc" [Vector] FIX => Vector false;
    Sqrt "sqrt" [Vector] FIX => Vector false;
    Start "start" [] FIX => Scalar true;
    StartTimestamp "start_timestamp" [Vector] FIX => Vector true;
    StddevOverTime "stddev_over_time" [Matrix] FIX => Vector false;
    StdvarOverTime "stdvar_over_time" [Matrix] FIX => Vector false;
    Step "step" [] FIX => Scalar true;
    SumOverTime "sum_over_time" [Matrix] FIX => Vector false;
    Tan "tan" [Vector] FIX => Vector false;
    Tanh "tanh" [Vector] FIX => Vector false;
    Time "time" [] FIX => Scalar false;
    Timestamp "timestamp" [Vector] FIX => Vector false;
    TsOfFirstOverTime "ts_of_first_over_time" [Matrix] FIX => Vector true;
    TsOfLastOverTime "ts_of_last_over_time" [Matrix] FIX => Vector true;
    TsOfMaxOverTime "ts_of_max_over_time" [Matrix] FIX => Vector true;
    TsOfMinOverTime "ts_of_min_over_time" [Matrix] FIX => Vector true;
    Vector "vector" [Scalar] FIX => Vector false;
    Year "year" [Vector] OPT => Vector false;
}

impl Function {
    /// What it takes and gives.
    pub fn signature(self) -> &'static Signature {
        &SIGNATURES[self as usize]
    }

    /// As PromQL writes it.
    pub fn name(self) -> &'static str {
        self.signature().name
    }

    /// The function called `name`; case counts.
    pub fn from_name(name: &str) -> Option<Self> {
        let i = SIGNATURES.binary_search_by(|s| s.name.cmp(name)).ok()?;
        Some(Function::ALL[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_whole_and_found_by_name() {
        assert_eq!(Function::ALL.len(), 90);
        assert_eq!(Function::ALL.iter().filter(|f| f.signature().experimental).count(), 17);
        assert!(SIGNATURES.is_sorted_by(|a, b| a.name < b.name));
        for &function in Function::ALL {
            assert_eq!(Function::from_name(function.name()), Some(function));
        }
        assert_eq!(Function::from_name("Rate"), None);
    }

    #[test]
    fn numbers_of_arguments() {
        let limits = |f: Function| (f.signature().args_min(), f.signature().args_max());
        assert_eq!(limits(Function::Rate), (1, Some(1)));
        assert_eq!(limits(Function::Round), (1, Some(2)));
        assert_eq!(limits(Function::Year), (0, Some(1)));
        assert_eq!(limits(Function::LabelJoin), (3, None));
        assert_eq!(limits(Function::SortByLabel), (1, None));
        assert_eq!(limits(Function::HistogramQuantiles), (3, Some(12)));
        assert_eq!(Function::HistogramQuantiles.signature().arg_type(11), Some(Scalar));
    }
}
