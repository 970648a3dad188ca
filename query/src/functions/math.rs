//! Functions from one float to one float, applied to each float cell of a row. Histogram cells give nothing.

use super::signature::Function;

/// The kernel of a function of one argument.
pub fn unary(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Acos => f64::acos,
        Function::Acosh => acosh,
        Function::Asin => f64::asin,
        Function::Asinh => asinh,
        Function::Atan => f64::atan,
        Function::Atanh => f64::atanh,
        Function::Ceil => f64::ceil,
        Function::Cos => f64::cos,
        Function::Cosh => f64::cosh,
        Function::Deg => |v| v * 180.0 / std::f64::consts::PI,
        Function::Exp => f64::exp,
        Function::Floor => f64::floor,
        Function::Ln => f64::ln,
        Function::Log10 => f64::log10,
        Function::Log2 => f64::log2,
        Function::Rad => |v| v * std::f64::consts::PI / 180.0,
        Function::Sgn => sgn,
        Function::Sin => f64::sin,
        Function::Sinh => f64::sinh,
        Function::Sqrt => f64::sqrt,
        Function::Tan => f64::tan,
        Function::Tanh => f64::tanh,
        _ => return None,
    })
}

/// Without the overflow that `v * v` would have for large arguments.
fn acosh(v: f64) -> f64 {
    if v > 1e8 { v.ln() + std::f64::consts::LN_2 } else { v.acosh() }
}

fn asinh(v: f64) -> f64 {
    if v.abs() > 1e8 { (v.abs().ln() + std::f64::consts::LN_2).copysign(v) } else { v.asinh() }
}

fn sgn(v: f64) -> f64 {
    if v < 0.0 {
        -1.0
    } else if v > 0.0 {
        1.0
    } else {
        v
    }
}

/// `round(v, to_nearest)`: ties go up. Divides by the inverse, which loses less for the usual 0.1 and 0.01.
#[inline]
pub fn round(v: f64, to_nearest: f64) -> f64 {
    let inverse = 1.0 / to_nearest;
    (v * inverse + 0.5).floor() / inverse
}

/// The smaller of two as Go's `math.Min`: NaN if either is, -0 before 0.
#[inline]
pub fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// The greater of two as Go's `math.Max`: NaN if either is, 0 before -0.
#[inline]
pub fn max(a: f64, b: f64) -> f64 {
    -min(-a, -b)
}

/// `clamp(v, low, high)`.
#[inline]
pub fn clamp(v: f64, low: f64, high: f64) -> f64 {
    max(low, min(high, v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_up_at_ties() {
        for (v, to, expected) in [
            (0.5, 1.0, 1.0),
            (-0.5, 1.0, 0.0),
            (2.5, 5.0, 5.0),
            (13.0, 5.0, 15.0),
            (0.25, 0.1, 0.3),
        ] {
            assert!((round(v, to) - expected).abs() < 1e-12, "round({v}, {to})");
        }
    }

    #[test]
    fn extremes_follow_go() {
        assert!(min(f64::NAN, 1.0).is_nan() && max(1.0, f64::NAN).is_nan());
        assert_eq!(min(f64::NAN, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(max(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert!(min(0.0, -0.0).is_sign_negative() && max(0.0, -0.0).is_sign_positive());
        assert_eq!(clamp(7.0, 1.0, 5.0), 5.0);
        assert!(clamp(f64::NAN, 1.0, 5.0).is_nan());
    }

    #[test]
    fn large_hyperbolic_arguments() {
        assert_eq!(
            unary(Function::Asinh).unwrap()(-1e300),
            -unary(Function::Acosh).unwrap()(1e300)
        );
        assert_eq!(sgn(-0.0).to_bits(), (-0.0_f64).to_bits());
        assert!(sgn(f64::NAN).is_nan());
    }
}
