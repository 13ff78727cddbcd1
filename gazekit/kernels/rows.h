// Rows of keys and values against the query heads that look at them: what the kernels spend their time in.
//
// Each function has a form in AVX-512 and a portable one. Which one runs is decided when the library of a level is
// compiled (kernels/native.py picks the level by what the processor has): bf16 products, AVX-512, or plain C++.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#define GAZE_AVX512 1
#endif

using bf16 = uint16_t;

inline float widen(float x) { return x; }
inline float widen(bf16 x) {
    uint32_t bits = static_cast<uint32_t>(x) << 16;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
}
inline void narrow(float x, float* out) { *out = x; }
inline void narrow(float x, bf16* out) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { *out = 0x7fc0; return; }  // NaN stays NaN
    *out = static_cast<bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);  // to nearest, ties to even
}

// Consecutive rows in memory; `stride` counts elements.
template <typename T>
struct Rows {
    const T* at;
    int64_t stride, count, dim;
    const T* row(int64_t r) const { return at + r * stride; }
};

// Brings the rows [from, to) nearer before they are needed, into the second cache: regions lie apart, so the processor
// cannot guess the next, and what is brought into the first one would push out what is in use.
template <typename T>
inline void fetch_ahead(const Rows<T>& rows, int64_t from, int64_t to) {
#if defined(__GNUC__)
    constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t r = from; r < std::min(to, rows.count); ++r)
        for (int64_t i = 0; i < rows.dim; i += line) __builtin_prefetch(rows.row(r) + i, 0, 2);
#else
    (void)rows, (void)from, (void)to;
#endif
}

// ---- portable ---------------------------------------------------------------------------------------------------

// out[h][r] = scale * query[h] . row(r)
template <typename T>
void dots_portable(const T* const* query, int heads, const Rows<T>& rows, float scale, float* const* out) {
    for (int h = 0; h < heads; ++h)
        for (int64_t r = 0; r < rows.count; ++r) {
            float total = 0;
            for (int64_t i = 0; i < rows.dim; ++i) total += widen(query[h][i]) * widen(rows.row(r)[i]);
            out[h][r] = scale * total;
        }
}

// sum[h] = keep[h] * sum[h] + weight[h][r] * row(r), over all rows
template <typename T>
void adds_portable(float* const* sum, const float* keep, int heads, const Rows<T>& rows, const float* const* weight) {
    for (int h = 0; h < heads; ++h) {
        for (int64_t i = 0; i < rows.dim; ++i) sum[h][i] *= keep[h];
        for (int64_t r = 0; r < rows.count; ++r)
            for (int64_t i = 0; i < rows.dim; ++i) sum[h][i] += weight[h][r] * widen(rows.row(r)[i]);
    }
}

#ifdef GAZE_AVX512

// ---- AVX-512: 32 elements at a time -----------------------------------------------------------------------------

// 32 elements as fp32 in two registers. Of bf16 the even ones, then the odd ones: a shift and a mask instead of two
// conversions; `place` undoes that where sums are handed out.
struct Pair {
    __m512 first, second;
};
inline Pair load32(const float* p) { return {_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)}; }
inline Pair load32(const bf16* p) {
    const __m512i both = _mm512_loadu_si512(p);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(0xffff0000)))};
}

#ifdef __AVX512BF16__
inline __m512 multiply_add(const bf16* a, const bf16* b, __m512 sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(a), (__m512bh)_mm512_loadu_si512(b));
}
#else
inline __m512 multiply_add(const bf16* a, const bf16* b, __m512 sum) {
    const Pair x = load32(a), y = load32(b);
    return _mm512_fmadd_ps(x.second, y.second, _mm512_fmadd_ps(x.first, y.first, sum));
}
#endif
inline __m512 multiply_add(const float* a, const float* b, __m512 sum) {
    sum = _mm512_fmadd_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b), sum);
    return _mm512_fmadd_ps(_mm512_loadu_ps(a + 16), _mm512_loadu_ps(b + 16), sum);
}

// The sums of four registers, side by side.
inline __m128 totals(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 all = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))),
                                     _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// Four rows against H heads; a row that is not there repeats the last one, and what it gives is written over.
template <int H, typename T>
inline void dots_wide(const T* const* query, const Rows<T>& rows, float scale, float* const* out, const Rows<T>& next) {
    for (int64_t r = 0; r < rows.count; r += 4) {
        const T* row[4];
        for (int j = 0; j < 4; ++j) row[j] = rows.row(std::min(r + j, rows.count - 1));
        __m512 sum[H][4];
        for (int h = 0; h < H; ++h)
            for (int j = 0; j < 4; ++j) sum[h][j] = _mm512_setzero_ps();
        for (int64_t i = 0; i < rows.dim; i += 32)
            for (int h = 0; h < H; ++h)
                for (int j = 0; j < 4; ++j) sum[h][j] = multiply_add(query[h] + i, row[j] + i, sum[h][j]);
        for (int h = 0; h < H; ++h) {
            const __m128 four = totals(sum[h][0], sum[h][1], sum[h][2], sum[h][3]);
            _mm_storeu_ps(out[h] + r, _mm_mul_ps(four, _mm_set1_ps(scale)));
        }
        fetch_ahead(next, r, r + 4);
    }
}

// L registers' worth of 32 columns stay in registers over all rows.
template <int H, int L, typename T>
inline void adds_wide(float* const* sum, const float* keep, const Rows<T>& rows, int64_t from, const float* const* weight,
                      const Rows<T>& next) {
    Pair total[H][L];
    for (int h = 0; h < H; ++h)
        for (int j = 0; j < L; ++j) {
            const Pair before = load32(sum[h] + from + 32 * j);
            total[h][j] = {_mm512_mul_ps(before.first, _mm512_set1_ps(keep[h])),
                           _mm512_mul_ps(before.second, _mm512_set1_ps(keep[h]))};
        }
    for (int64_t r = 0; r < rows.count; ++r) {
        const T* row = rows.row(r) + from;
        for (int j = 0; j < L; ++j) {
            const Pair x = load32(row + 32 * j);
            for (int h = 0; h < H; ++h) {
                const __m512 w = _mm512_set1_ps(weight[h][r]);
                total[h][j].first = _mm512_fmadd_ps(w, x.first, total[h][j].first);
                total[h][j].second = _mm512_fmadd_ps(w, x.second, total[h][j].second);
            }
        }
        fetch_ahead(next, r, r + 1);
    }
    for (int h = 0; h < H; ++h)
        for (int j = 0; j < L; ++j) {
            _mm512_storeu_ps(sum[h] + from + 32 * j, total[h][j].first);
            _mm512_storeu_ps(sum[h] + from + 32 * j + 16, total[h][j].second);
        }
}

// e^x for x <= 0 by 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]; relative error below 2e-7, 0 below -87.
inline __m512 exp_wide(__m512 x) {
    const __mmask16 tiny = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_LT_OQ);
    x = _mm512_max_ps(x, _mm512_set1_ps(-87.0f));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.0f / 720);
    for (float c : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
    return _mm512_mask_mov_ps(_mm512_scalef_ps(p, n), tiny, _mm512_setzero_ps());
}
#endif

// ---- what kernels call ------------------------------------------------------------------------------------------

constexpr int DOT_HEADS = 4, ADD_HEADS = 2;  // as many as have room for their sums in the registers

// out[h][r] = scale * query[h] . row(r); `out` needs room for three rows more. Rows of `next` are fetched meanwhile.
template <typename T>
void dots(const T* const* query, int heads, const Rows<T>& rows, float scale, float* const* out, const Rows<T>& next) {
#ifdef GAZE_AVX512
    if (rows.dim % 32 == 0) {
        const Rows<T> none{next.at, next.stride, 0, next.dim};
        for (int h = 0; h < heads; h += DOT_HEADS) {
            const Rows<T>& then = h == 0 ? next : none;
            switch (std::min(DOT_HEADS, heads - h)) {
                case 1: dots_wide<1>(query + h, rows, scale, out + h, then); break;
                case 2: dots_wide<2>(query + h, rows, scale, out + h, then); break;
                case 3: dots_wide<3>(query + h, rows, scale, out + h, then); break;
                default: dots_wide<4>(query + h, rows, scale, out + h, then);
            }
        }
        return;
    }
#endif
    fetch_ahead(next, 0, next.count);
    dots_portable(query, heads, rows, scale, out);
}

// sum[h] = keep[h] * sum[h] + weight[h][r] * row(r), over all rows; columns of `sum` lie as `place` says.
template <typename T>
void adds(float* const* sum, const float* keep, int heads, const Rows<T>& rows, const float* const* weight, const Rows<T>& next) {
#ifdef GAZE_AVX512
    if (rows.dim % 32 == 0) {
        const Rows<T> none{next.at, next.stride, 0, next.dim};
        for (int h = 0; h < heads; h += ADD_HEADS)
            for (int64_t from = 0; from < rows.dim;) {
                const Rows<T>& then = h == 0 && from == 0 ? next : none;
                const bool two = heads - h >= 2, full = rows.dim - from >= 128;
                if (two && full) adds_wide<2, 4>(sum + h, keep + h, rows, from, weight + h, then);
                else if (full) adds_wide<1, 4>(sum + h, keep + h, rows, from, weight + h, then);
                else if (two) adds_wide<2, 1>(sum + h, keep + h, rows, from, weight + h, then);
                else adds_wide<1, 1>(sum + h, keep + h, rows, from, weight + h, then);
                from += full ? 128 : 32;
            }
        return;
    }
#endif
    fetch_ahead(next, 0, next.count);
    adds_portable(sum, keep, heads, rows, weight);
}

// Where column i of a sum lies.
template <typename T>
inline int64_t place(int64_t i, int64_t dim) {
#ifdef GAZE_AVX512
    if (sizeof(T) == 2 && dim % 32 == 0) return i / 32 * 32 + i % 2 * 16 + i % 32 / 2;
#endif
    (void)dim;
    return i;
}

// Logits to weights in place; returns their sum.
inline float exponentiate(float* logit, int64_t count, float peak) {
    float total = 0;
    int64_t i = 0;
#ifdef GAZE_AVX512
    __m512 sum = _mm512_setzero_ps();
    for (; i < count; i += 16) {
        const __mmask16 there = count - i < 16 ? (1u << (count - i)) - 1 : 0xffff;
        const __m512 w = exp_wide(_mm512_sub_ps(_mm512_maskz_loadu_ps(there, logit + i), _mm512_set1_ps(peak)));
        _mm512_mask_storeu_ps(logit + i, there, w);
        sum = _mm512_mask_add_ps(sum, there, sum, w);
    }
    total = _mm512_reduce_add_ps(sum);
#endif
    for (; i < count; ++i) total += logit[i] = std::exp(logit[i] - peak);
    return total;
}

inline float highest(const float* logit, int64_t count) {
#ifdef GAZE_AVX512
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int64_t i = 0; i < count; i += 16) {
        const __mmask16 there = count - i < 16 ? (1u << (count - i)) - 1 : 0xffff;
        most = _mm512_max_ps(most, _mm512_mask_loadu_ps(most, there, logit + i));
    }
    return _mm512_reduce_max_ps(most);
#else
    return *std::max_element(logit, logit + count);
#endif
}
