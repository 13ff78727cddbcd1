// Attention of one query per sample over chosen regions and free entries, for CPUs.
//
// Equals gazekit.kernels.naive.decode. Keys and values are read where they lie: each row of a region that any query
// head of a KV head chose is read once, and serves all heads of the group that chose it. Plain C interface, so that
// it needs neither Python's nor torch's headers and compiles in seconds.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512BF16__)
#include <immintrin.h>
#define GAZE_AVX512 1
#endif

namespace {

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

// A stretch of consecutive rows that the heads in `heads` (a bit each) look at.
struct Stretch {
    int64_t begin, count;
    uint64_t heads;
};

// Asks for the rows of a stretch before they are needed: regions lie apart, so the processor cannot guess the next one.
template <typename T>
inline void fetch_ahead(const T* rows, int64_t stride, int64_t count, int64_t dim) {
#if defined(__GNUC__)
    for (int64_t r = 0; r < count; ++r)
        for (int64_t i = 0; i < dim; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(rows + r * stride + i, 0, 2);
#endif
}

// ---- one row of keys against one query --------------------------------------------------------------------------

template <typename T>
inline float dot(const T* a, const T* b, int64_t dim) {
    float total = 0;
    for (int64_t i = 0; i < dim; ++i) total += widen(a[i]) * widen(b[i]);
    return total;
}

template <typename T>
inline void add_scaled(float* out, const T* row, float weight, int64_t dim) {
    for (int64_t i = 0; i < dim; ++i) out[i] += weight * widen(row[i]);
}

template <typename T>
void dot_rows(const T* query, const T* rows, int64_t stride, int64_t count, int64_t dim, float scale, float* out) {
    for (int64_t r = 0; r < count; ++r) out[r] = scale * dot(query, rows + r * stride, dim);
}

template <typename T>
void add_rows(float* out, const T* rows, int64_t stride, int64_t count, int64_t dim, const float* weight) {
    for (int64_t r = 0; r < count; ++r) add_scaled(out, rows + r * stride, weight[r], dim);
}

#ifdef GAZE_AVX512

inline __m512 load16(const bf16* p) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
inline __m512 load16(const float* p) { return _mm512_loadu_ps(p); }

inline __m512 multiply_add(const bf16* a, const bf16* b, __m512 sum) {  // 32 products
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(a), (__m512bh)_mm512_loadu_si512(b));
}
inline __m512 multiply_add(const float* a, const float* b, __m512 sum) {
    sum = _mm512_fmadd_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b), sum);
    return _mm512_fmadd_ps(_mm512_loadu_ps(a + 16), _mm512_loadu_ps(b + 16), sum);
}

template <typename T>
void dot_rows_wide(const T* query, const T* rows, int64_t stride, int64_t count, int64_t dim, float scale, float* out) {
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) {
        __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
        const T* row = rows + r * stride;
        for (int64_t i = 0; i < dim; i += 32) {
            s0 = multiply_add(query + i, row + i, s0);
            s1 = multiply_add(query + i, row + stride + i, s1);
            s2 = multiply_add(query + i, row + 2 * stride + i, s2);
            s3 = multiply_add(query + i, row + 3 * stride + i, s3);
        }
        out[r] = scale * _mm512_reduce_add_ps(s0);
        out[r + 1] = scale * _mm512_reduce_add_ps(s1);
        out[r + 2] = scale * _mm512_reduce_add_ps(s2);
        out[r + 3] = scale * _mm512_reduce_add_ps(s3);
    }
    for (; r < count; ++r) {
        __m512 s = _mm512_setzero_ps();
        for (int64_t i = 0; i < dim; i += 32) s = multiply_add(query + i, rows + r * stride + i, s);
        out[r] = scale * _mm512_reduce_add_ps(s);
    }
}

// 128 columns at a time stay in eight registers over all rows of a stretch.
template <typename T>
void add_rows_wide(float* out, const T* rows, int64_t stride, int64_t count, int64_t dim, const float* weight) {
    for (int64_t from = 0; from < dim; from += 128) {
        const int64_t lanes = std::min<int64_t>(8, (dim - from) / 16);
        __m512 sum[8];
        for (int64_t j = 0; j < 8; ++j) sum[j] = j < lanes ? _mm512_loadu_ps(out + from + 16 * j) : _mm512_setzero_ps();
        if (lanes == 8) {
            for (int64_t r = 0; r < count; ++r) {
                const T* row = rows + r * stride + from;
                const __m512 w = _mm512_set1_ps(weight[r]);
                for (int64_t j = 0; j < 8; ++j) sum[j] = _mm512_fmadd_ps(w, load16(row + 16 * j), sum[j]);
            }
        } else {
            for (int64_t r = 0; r < count; ++r) {
                const T* row = rows + r * stride + from;
                const __m512 w = _mm512_set1_ps(weight[r]);
                for (int64_t j = 0; j < lanes; ++j) sum[j] = _mm512_fmadd_ps(w, load16(row + 16 * j), sum[j]);
            }
        }
        for (int64_t j = 0; j < lanes; ++j) _mm512_storeu_ps(out + from + 16 * j, sum[j]);
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

// Logits to weights in place; returns their sum.
float exponentiate(float* logit, int64_t count, float peak) {
    float total = 0;
    int64_t i = 0;
#ifdef GAZE_AVX512
    __m512 sum = _mm512_setzero_ps();
    for (; i + 16 <= count; i += 16) {
        const __m512 w = exp_wide(_mm512_sub_ps(_mm512_loadu_ps(logit + i), _mm512_set1_ps(peak)));
        _mm512_storeu_ps(logit + i, w);
        sum = _mm512_add_ps(sum, w);
    }
    total = _mm512_reduce_add_ps(sum);
#endif
    for (; i < count; ++i) total += logit[i] = std::exp(logit[i] - peak);
    return total;
}

// ---- one KV head ------------------------------------------------------------------------------------------------

template <typename T>
struct Head {
    const T *query, *key, *value;  // query: [group dim]
    int64_t key_stride, value_stride, group, dim, value_dim;
    float scale;
    T* out;  // [group value_dim]
};

template <typename T>
void attend(const Head<T>& h, const std::vector<Stretch>& stretches, std::vector<float>& space) {
#ifdef GAZE_AVX512
    const auto dots = h.dim % 32 == 0 ? dot_rows_wide<T> : dot_rows<T>;
    const auto adds = h.value_dim % 16 == 0 ? add_rows_wide<T> : add_rows<T>;
#else
    const auto dots = dot_rows<T>;
    const auto adds = add_rows<T>;
#endif
    // Each head's logits lie one after another, in the order of the stretches that it looks at.
    std::vector<int64_t> begin(h.group + 1, 0);
    for (const auto& s : stretches)
        for (int64_t g = 0; g < h.group; ++g) begin[g + 1] += (s.heads >> g & 1) * s.count;
    for (int64_t g = 0; g < h.group; ++g) begin[g + 1] += begin[g];
    space.resize(begin[h.group] + h.group * h.value_dim);
    float* logit = space.data();
    float* sum = logit + begin[h.group];
    std::fill(sum, sum + h.group * h.value_dim, 0.0f);

    std::vector<int64_t> at(begin.begin(), begin.end() - 1);
    for (size_t i = 0; i < stretches.size(); ++i) {
        const Stretch& s = stretches[i];
        if (i + 1 < stretches.size()) {
            const Stretch& next = stretches[i + 1];
            fetch_ahead(h.key + next.begin * h.key_stride, h.key_stride, next.count, h.dim);
        }
        for (int64_t g = 0; g < h.group; ++g)
            if (s.heads >> g & 1) {
                dots(h.query + g * h.dim, h.key + s.begin * h.key_stride, h.key_stride, s.count, h.dim, h.scale, logit + at[g]);
                at[g] += s.count;
            }
    }
    std::vector<float> total(h.group, 0.0f);
    for (int64_t g = 0; g < h.group; ++g) {
        if (begin[g] == begin[g + 1]) continue;
        const float peak = *std::max_element(logit + begin[g], logit + begin[g + 1]);
        total[g] = exponentiate(logit + begin[g], begin[g + 1] - begin[g], peak);
    }
    std::copy(begin.begin(), begin.end() - 1, at.begin());
    for (size_t i = 0; i < stretches.size(); ++i) {
        const Stretch& s = stretches[i];
        if (i + 1 < stretches.size()) {
            const Stretch& next = stretches[i + 1];
            fetch_ahead(h.value + next.begin * h.value_stride, h.value_stride, next.count, h.value_dim);
        }
        for (int64_t g = 0; g < h.group; ++g)
            if (s.heads >> g & 1) {
                adds(sum + g * h.value_dim, h.value + s.begin * h.value_stride, h.value_stride, s.count, h.value_dim, logit + at[g]);
                at[g] += s.count;
            }
    }
    for (int64_t g = 0; g < h.group; ++g)
        for (int64_t i = 0; i < h.value_dim; ++i)
            narrow(total[g] > 0 ? sum[g * h.value_dim + i] / total[g] : 0.0f, h.out + g * h.value_dim + i);
}

}  // namespace

// What is handed over; strides count elements. `free_seen` has a byte for each free entry, 0 = out of view.
struct Call {
    const void *query, *key, *value;
    void* out;
    const int64_t *begin, *count;  // [batch region_heads region]
    const int32_t* index;          // [batch index_heads slot], -1 = empty
    const uint8_t* free_seen;      // [batch free_heads free]
    int64_t batch, heads, kv_heads, dim, value_dim, regions, slots, free_begin, frees;
    int64_t region_heads, index_heads, free_heads;
    int64_t key_batch, key_head, key_row, value_batch, value_head, value_row;
    int64_t is_bf16, threads;
    double scale;
};

namespace {

template <typename T>
void decode_typed(const Call& c) {
    const int64_t group = c.heads / c.kv_heads;
#pragma omp parallel for num_threads(c.threads) schedule(dynamic) if (c.threads > 1)
    for (int64_t job = 0; job < c.batch * c.kv_heads; ++job) {
        thread_local std::vector<uint64_t> chosen;
        thread_local std::vector<Stretch> stretches;
        thread_local std::vector<float> space;
        const int64_t b = job / c.kv_heads, kv = job % c.kv_heads;
        chosen.assign(c.regions, 0);
        for (int64_t g = 0; g < group; ++g) {
            const int64_t head = (kv * group + g) * c.index_heads / c.heads;
            const int32_t* index = c.index + (b * c.index_heads + head) * c.slots;
            for (int64_t s = 0; s < c.slots; ++s)
                if (index[s] >= 0) chosen[index[s]] |= uint64_t{1} << g;
        }
        stretches.clear();
        const int64_t regions = (b * c.region_heads + (c.region_heads > 1 ? kv : 0)) * c.regions;
        for (int64_t r = 0; r < c.regions; ++r)
            if (chosen[r] && c.count[regions + r] > 0)
                stretches.push_back({c.begin[regions + r], c.count[regions + r], chosen[r]});
        const uint8_t* seen = c.free_seen + (b * c.free_heads + (c.free_heads > 1 ? kv : 0)) * c.frees;
        const uint64_t all = group < 64 ? (uint64_t{1} << group) - 1 : ~uint64_t{0};
        for (int64_t from = 0; from < c.frees;) {
            if (!seen[from]) { ++from; continue; }
            int64_t to = from;
            while (to < c.frees && seen[to] && to - from < 64) ++to;
            stretches.push_back({c.free_begin + from, to - from, all});
            from = to;
        }
        const Head<T> head{
            static_cast<const T*>(c.query) + (b * c.heads + kv * group) * c.dim,
            static_cast<const T*>(c.key) + b * c.key_batch + kv * c.key_head,
            static_cast<const T*>(c.value) + b * c.value_batch + kv * c.value_head,
            c.key_row, c.value_row, group, c.dim, c.value_dim, static_cast<float>(c.scale),
            static_cast<T*>(c.out) + (b * c.heads + kv * group) * c.value_dim,
        };
        attend(head, stretches, space);
    }
}

}  // namespace

extern "C" void gaze_decode(const Call* call) {
    if (call->is_bf16)
        decode_typed<bf16>(*call);
    else
        decode_typed<float>(*call);
}

extern "C" int gaze_wide() {
#ifdef GAZE_AVX512
    return 1;
#else
    return 0;
#endif
}
