// Attention of one query per sample over chosen regions and free entries, for CPUs.
//
// Equals gazekit.kernels.naive.decode. Keys and values are read where they lie, in one pass: each row of a region that
// any query head of a KV head chose is read once, and serves all heads of the group that chose it. Plain C interface,
// so that it needs neither Python's nor torch's headers and compiles in seconds.

#include <vector>

#include "rows.h"

namespace {

constexpr int64_t STRETCH = 64;

// A few consecutive rows that the heads in `heads` (a bit each) look at.
struct Stretch {
    int64_t begin, count;
    uint64_t heads;
};

// One query head on its way through the entries: a softmax that is rescaled when a higher logit comes.
struct Softmax {
    float peak = -INFINITY, total = 0;
};

template <typename T>
struct Head {
    const T *query, *key, *value;  // query: [group dim]
    int64_t key_stride, value_stride, group, dim, value_dim;
    float scale;
    T* out;  // [group value_dim]

    Rows<T> keys(const Stretch& s) const { return {key + s.begin * key_stride, key_stride, s.count, dim}; }
    Rows<T> values(const Stretch& s) const { return {value + s.begin * value_stride, value_stride, s.count, value_dim}; }
};

template <typename T>
void attend(const Head<T>& h, const std::vector<Stretch>& stretches, std::vector<float>& space) {
    constexpr int64_t room = STRETCH + 16;
    space.assign(h.group * (h.value_dim + room), 0.0f);
    float *sums = space.data(), *logits = sums + h.group * h.value_dim;
    Softmax state[64];
    for (size_t i = 0; i < stretches.size(); ++i) {
        const Stretch& s = stretches[i];
        const Stretch ahead = i + 1 < stretches.size() ? stretches[i + 1] : Stretch{s.begin, 0, 0};
        const T* query[64];
        float *logit[64], *sum[64], keep[64];
        int heads = 0, of[64];
        for (int64_t g = 0; g < h.group; ++g)
            if (s.heads >> g & 1) {
                query[heads] = h.query + g * h.dim;
                logit[heads] = logits + heads * room;
                sum[heads] = sums + g * h.value_dim;
                of[heads++] = static_cast<int>(g);
            }
        // Meanwhile the values of these rows come nearer, and below the keys of the next.
        dots(query, heads, h.keys(s), h.scale, logit, h.values(s));
        for (int n = 0; n < heads; ++n) {
            Softmax& at = state[of[n]];
            const float peak = std::max(at.peak, highest(logit[n], s.count));
            keep[n] = at.peak < peak ? std::exp(at.peak - peak) : 1.0f;
            at.total = keep[n] * at.total + exponentiate(logit[n], s.count, peak);
            at.peak = peak;
        }
        adds(sum, keep, heads, h.values(s), logit, h.keys(ahead));
    }
    for (int64_t g = 0; g < h.group; ++g)
        for (int64_t i = 0; i < h.value_dim; ++i) {
            const float x = sums[g * h.value_dim + place<T>(i, h.value_dim)];
            narrow(state[g].total > 0 ? x / state[g].total : 0.0f, h.out + g * h.value_dim + i);
        }
}

}  // namespace

// What is known of tokens: five integers' worth, less the owner; strides count elements.
struct Facts {
    const int64_t *kind, *unit, *document, *order;
    int64_t batch, head;
};

// What is handed over, by kernels/native.py, which lists the same fields in the same order; strides count elements.
struct Call {
    const void *query, *key, *value;
    void* out;
    const int64_t *begin, *count;  // [batch region_heads region]
    const int32_t* index;          // [batch index_heads slot], -1 = empty
    const int64_t* row;            // [batch], -1 = the query does not route, and no region is looked at
    Facts asking, asked;           // [batch 1], and [batch free_heads entry], read from free_begin on
    int64_t batch, heads, kv_heads, dim, value_dim, regions, slots, free_begin, frees;
    int64_t region_heads, index_heads, row_batch, confined;  // confined: a bit for each kind
    int64_t key_batch, key_head, key_row, value_batch, value_head, value_row;
    int64_t is_bf16, threads;
};

namespace {

// The base rule of visibility: both real, same document, not later; for confined kinds of queries the own unit only.
struct Seen {
    const int64_t *kind, *unit, *document, *order;
    int64_t own_unit, own_document, own_order;
    bool real, confined;

    Seen(const Call& c, int64_t b, int64_t kv) {
        const int64_t to = b * c.asked.batch + kv * c.asked.head, from = b * c.asking.batch;
        kind = c.asked.kind + to, unit = c.asked.unit + to, document = c.asked.document + to, order = c.asked.order + to;
        own_unit = c.asking.unit[from], own_document = c.asking.document[from], own_order = c.asking.order[from];
        real = c.asking.kind[from] != 0;
        confined = c.confined >> c.asking.kind[from] & 1;
    }
    bool operator()(int64_t i) const {
        return real && kind[i] != 0 && document[i] == own_document && order[i] <= own_order &&
               (!confined || unit[i] == own_unit);
    }
};

template <typename T>
void decode_typed(const Call& c, double scale) {
    const int64_t group = c.heads / c.kv_heads;
#pragma omp parallel for num_threads(c.threads) schedule(dynamic) if (c.threads > 1)
    for (int64_t job = 0; job < c.batch * c.kv_heads; ++job) {
        thread_local std::vector<uint64_t> chosen;
        thread_local std::vector<Stretch> stretches;
        thread_local std::vector<float> space;
        const int64_t b = job / c.kv_heads, kv = job % c.kv_heads;
        chosen.assign(c.regions, 0);
        for (int64_t g = 0; g < group && c.row[b * c.row_batch] >= 0; ++g) {
            const int64_t head = (kv * group + g) * c.index_heads / c.heads;
            const int32_t* index = c.index + (b * c.index_heads + head) * c.slots;
            for (int64_t s = 0; s < c.slots; ++s)
                if (index[s] >= 0) chosen[index[s]] |= uint64_t{1} << g;
        }
        stretches.clear();
        const int64_t regions = (b * c.region_heads + (c.region_heads > 1 ? kv : 0)) * c.regions;
        for (int64_t r = 0; r < c.regions; ++r)
            for (int64_t from = 0; chosen[r] && from < c.count[regions + r]; from += STRETCH)
                stretches.push_back({c.begin[regions + r] + from, std::min(STRETCH, c.count[regions + r] - from), chosen[r]});
        const Seen seen(c, b, kv);
        const uint64_t all = group < 64 ? (uint64_t{1} << group) - 1 : ~uint64_t{0};
        const int64_t end = c.free_begin + c.frees;
        for (int64_t from = c.free_begin; from < end;) {
            int64_t to = from;
            while (to < end && to - from < STRETCH && seen(to)) ++to;
            if (to > from) stretches.push_back({from, to - from, all});
            from = std::max(to, from + 1);
        }
        const Head<T> head{
            static_cast<const T*>(c.query) + (b * c.heads + kv * group) * c.dim,
            static_cast<const T*>(c.key) + b * c.key_batch + kv * c.key_head,
            static_cast<const T*>(c.value) + b * c.value_batch + kv * c.value_head,
            c.key_row, c.value_row, group, c.dim, c.value_dim, static_cast<float>(scale),
            static_cast<T*>(c.out) + (b * c.heads + kv * group) * c.value_dim,
        };
        attend(head, stretches, space);
    }
}

}  // namespace

extern "C" void gaze_decode(const Call* call, double scale) {
    if (call->is_bf16)
        decode_typed<bf16>(*call, scale);
    else
        decode_typed<float>(*call, scale);
}

extern "C" int gaze_wide() {
#ifdef GAZE_AVX512
    return 1;
#else
    return 0;
#endif
}
