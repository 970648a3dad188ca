//! The kernels in AVX2, four numbers of 64 bits at a time. Each is tested against its twin in [`super::scalar`].
//!
//! Unpacking takes eight numbers of `width` bits, which are `width` bytes, with four loads of 16 bytes. Each load holds
//! two numbers whole (`7 + 2 * 57 < 128`); a shuffle moves the eight bytes around each into a lane of its own, and a shift
//! and a mask finish it. Where the shuffle has to look depends on the width alone, so it stands in a table. Wider numbers
//! and the last ones, behind which there are no 16 bytes left to read, are done by the twin.

#![allow(clippy::wildcard_imports)] // of instructions

use std::arch::x86_64::*;

use super::scalar;

/// Widest number that lies in eight bytes wherever it begins.
const WIDTH_MAX: usize = 57;

/// Bytes that one load reads.
const LOAD_BYTES: usize = 16;

/// How eight numbers of one width are taken out of their bytes: of each pair the load, of each number the rest.
#[derive(Clone, Copy)]
struct Layout {
    /// Where the load of each pair begins.
    loads: [usize; 4],
    /// Of each pair, the bytes of the load that go to each lane.
    shuffles: [[u8; 16]; 4],
    /// Of each number, the bits below it in its lane.
    shifts: [[i64; 4]; 2],
}

const LAYOUTS: [Layout; WIDTH_MAX + 1] = {
    let mut layouts =
        [Layout { loads: [0; 4], shuffles: [[0; 16]; 4], shifts: [[0; 4]; 2] }; WIDTH_MAX + 1];
    let mut width = 1;
    while width <= WIDTH_MAX {
        let mut number = 0;
        while number < 8 {
            let (pair, half) = (number / 2, number % 2);
            let load = pair * 2 * width / 8;
            let bit = number * width - load * 8;
            layouts[width].loads[pair] = load;
            layouts[width].shifts[number / 4][number % 4] = (bit % 8) as i64;
            let mut byte = 0;
            while byte < 8 {
                let from = bit / 8 + byte;
                // What lies past the load belongs to later numbers; 0x80 makes a zero of it.
                layouts[width].shuffles[pair][half * 8 + byte] =
                    if from < LOAD_BYTES { from as u8 } else { 0x80 };
                byte += 1;
            }
            number += 1;
        }
        width += 1;
    }
    layouts
};

/// See [`super::unpack`]; `width` is not 0.
#[target_feature(enable = "avx2")]
pub(super) fn unpack(bytes: &[u8], width: u32, base: i64, out: &mut [i64]) {
    let mut done = 0;
    if let Some(layout) = LAYOUTS.get(width as usize) {
        let (step, reach) = (width as usize, layout.loads[3] + LOAD_BYTES);
        let groups = (out.len() / 8).min((bytes.len() + step).saturating_sub(reach) / step);
        let mask = _mm256_set1_epi64x((u64::MAX >> (64 - width)) as i64);
        let bases = _mm256_set1_epi64x(base);
        let [first, second] = [0, 2].map(|pair| Lanes {
            loads: [layout.loads[pair], layout.loads[pair + 1]],
            shuffle: load_pair(&layout.shuffles[pair], &layout.shuffles[pair + 1]),
            shift: load(&layout.shifts[pair / 2]),
        });
        let take = |from: usize, lanes: &Lanes| {
            // SAFETY: `groups` is such that the last load of the last group ends within `bytes`.
            let [low, high] = lanes
                .loads
                .map(|at| unsafe { _mm_loadu_si128(bytes.as_ptr().add(from + at).cast()) });
            let numbers = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), lanes.shuffle);
            let numbers = _mm256_and_si256(_mm256_srlv_epi64(numbers, lanes.shift), mask);
            _mm256_add_epi64(numbers, bases)
        };
        let fours = out.as_chunks_mut::<4>().0;
        for (group, eight) in fours.as_chunks_mut::<2>().0.iter_mut().take(groups).enumerate() {
            store(&mut eight[0], take(group * step, &first));
            store(&mut eight[1], take(group * step, &second));
        }
        done = groups * 8;
    }
    scalar::unpack_from(bytes, width, base, done, &mut out[done..]);
}

/// How four numbers are taken: two loads, then in registers.
struct Lanes {
    loads: [usize; 2],
    shuffle: __m256i,
    shift: __m256i,
}

#[target_feature(enable = "avx2")]
fn load_pair(low: &[u8; 16], high: &[u8; 16]) -> __m256i {
    // SAFETY: it reads the two arrays.
    unsafe { _mm256_loadu2_m128i(high.as_ptr().cast(), low.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load(four: &[i64; 4]) -> __m256i {
    // SAFETY: it reads the array, wherever that lies.
    unsafe { _mm256_loadu_si256(std::ptr::from_ref(four).cast()) }
}

#[target_feature(enable = "avx2")]
fn store(four: &mut [i64; 4], lanes: __m256i) {
    // SAFETY: it writes the array, wherever that lies.
    unsafe { _mm256_storeu_si256(std::ptr::from_mut(four).cast(), lanes) }
}

/// See [`super::prefix_sum`].
#[target_feature(enable = "avx2")]
pub(super) fn prefix_sum(numbers: &mut [i64], before: i64) -> i64 {
    let (fours, rest) = numbers.as_chunks_mut::<4>();
    let mut sum = _mm256_set1_epi64x(before);
    for four in fours {
        let x = load(four);
        // a, a+b | c, c+d
        let pairs = _mm256_add_epi64(x, _mm256_slli_si256(x, 8));
        // 0, 0 | a+b, a+b
        let low = _mm256_permute4x64_epi64(pairs, 0b01_01_00_00);
        let low = _mm256_blend_epi32(_mm256_setzero_si256(), low, 0b1111_0000);
        let sums = _mm256_add_epi64(pairs, low);
        store(four, _mm256_add_epi64(sums, sum));
        sum = _mm256_add_epi64(sum, _mm256_permute4x64_epi64(sums, 0b11_11_11_11));
    }
    scalar::prefix_sum(rest, _mm256_extract_epi64(sum, 0))
}

/// See [`super::to_floats`].
#[target_feature(enable = "avx2")]
pub(super) fn to_floats(numbers: &[i64], factor: f64, divisor: f64, out: &mut [f64]) {
    let (fours, rest) = numbers.as_chunks::<4>();
    let (out, out_rest) = out.split_at_mut(fours.len() * 4);
    let (by, over) = (_mm256_set1_pd(factor), _mm256_set1_pd(divisor));
    for (four, out) in fours.iter().zip(out.as_chunks_mut::<4>().0) {
        let mut floats = _mm256_mul_pd(to_float(load(four)), by);
        if divisor != 1.0 {
            floats = _mm256_div_pd(floats, over);
        }
        // SAFETY: it writes four floats.
        unsafe { _mm256_storeu_pd(out.as_mut_ptr(), floats) };
    }
    scalar::to_floats(rest, factor, divisor, out_rest);
}

/// Rounds as `as f64` does. The low half is put behind the exponent of 2^52 and the high half, its sign flipped, behind that of
/// 2^84: both are exact, the high one still is without the 2^84 + 2^63 + 2^52, and one addition rounds.
#[target_feature(enable = "avx2")]
fn to_float(x: __m256i) -> __m256d {
    let low_magic = _mm256_set1_epi64x(0x4330_0000_0000_0000);
    let high_magic = _mm256_set1_epi64x(0x4530_0000_8000_0000);
    let both_magic = _mm256_castsi256_pd(_mm256_set1_epi64x(0x4530_0000_8010_0000));
    let low = _mm256_blend_epi32(low_magic, x, 0b0101_0101);
    let high = _mm256_xor_si256(_mm256_srli_epi64(x, 32), high_magic);
    let high = _mm256_sub_pd(_mm256_castsi256_pd(high), both_magic);
    _mm256_add_pd(high, _mm256_castsi256_pd(low))
}
