// Which regions match best: scores of one query per sample against descriptors, and the exact K highest of each row.
//
// Equals gazekit.kernels.naive.scores and naive.select.

#include <limits>
#include <vector>

#include "rows.h"

// What is handed over, by kernels/native.py, which lists the same fields in the same order; strides count elements.
struct Scores {
    const void* query;  // [batch heads dim]
    const float* descriptor;
    float* out;  // [batch heads regions]
    int64_t batch, heads, kv_heads, regions, dim;
    int64_t descriptor_batch, descriptor_head, descriptor_row;
    int64_t is_bf16, threads;
};

struct Select {
    const float* score;       // [batch heads rows regions]
    const uint8_t* complete;  // [batch rows regions], 0 = may not be chosen
    int32_t* index;           // [batch heads rows slots]
    int64_t batch, heads, rows, regions, slots, k;
    int64_t complete_batch, complete_row;
    int64_t threads;
};

namespace {

constexpr int64_t BLOCK = 64;
constexpr int64_t AHEAD = 8;  // rows between what is computed and what is fetched: descriptors lie one after another

// Each score is computed alike wherever it lies, so that equal descriptors get equal scores.
void score(const Scores& c, int64_t batch, int64_t kv) {
    const int64_t group = c.heads / c.kv_heads, first = batch * c.heads + kv * group;
    const float* rows = c.descriptor + batch * c.descriptor_batch + kv * c.descriptor_head;
    thread_local std::vector<float> asking;
    asking.resize(group * c.dim);
    for (int64_t i = 0; i < group * c.dim; ++i)
        asking[i] = c.is_bf16 ? widen(static_cast<const bf16*>(c.query)[first * c.dim + i])
                              : static_cast<const float*>(c.query)[first * c.dim + i];
    float space[DOT_HEADS][BLOCK + 16];
    for (int64_t from = 0; from < c.regions; from += BLOCK) {
        const int64_t count = std::min(BLOCK, c.regions - from), more = std::min(BLOCK, c.regions - from - AHEAD);
        const Rows<float> block{rows + from * c.descriptor_row, c.descriptor_row, count, c.dim};
        for (int64_t g = 0; g < group; g += DOT_HEADS) {
            const Rows<float> next{block.row(AHEAD), c.descriptor_row, g == 0 ? more : 0, c.dim};
            const int heads = static_cast<int>(std::min<int64_t>(DOT_HEADS, group - g));
            const float* query[DOT_HEADS];
            float* out[DOT_HEADS];
            for (int h = 0; h < heads; ++h) query[h] = asking.data() + (g + h) * c.dim, out[h] = space[h];
            dots(query, heads, block, 1.0f, out, next);
            for (int h = 0; h < heads; ++h)
                std::copy(out[h], out[h] + count, c.out + (first + g + h) * c.regions + from);
        }
    }
}

// What may not be chosen; below all that may.
constexpr int32_t SHUT = std::numeric_limits<int32_t>::min();

// The bits of a number as an integer of the same order, above SHUT; both zeros are one.
inline int32_t sortable(float x) {
    x += 0.0f;
    int32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return std::max(bits ^ ((bits >> 31) & 0x7fffffff), SHUT + 1);
}

inline int64_t at_least(const int32_t* value, int64_t count, int32_t bound) {
    int32_t found = 0;
    for (int64_t i = 0; i < count; ++i) found += value[i] >= bound;
    return found;
}

// A bound that `keep` values reach, or more where several are equal to it: then it is the highest such. Found by
// halving, which a compiler turns into vector code and which costs the same for every order of the values.
int32_t bound_of(const int32_t* value, int64_t count, int64_t keep) {
    int64_t low = SHUT, high = int64_t{std::numeric_limits<int32_t>::max()} + 1;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2, reach = at_least(value, count, static_cast<int32_t>(middle));
        if (reach == keep) return static_cast<int32_t>(middle);
        (reach > keep ? low : high) = middle;
    }
    return static_cast<int32_t>(low);
}

// The `keep` highest, ascending by place; of those equal to the lowest of them the first ones.
void list(const int32_t* value, int64_t count, int64_t keep, int32_t* index) {
    const int32_t bound = bound_of(value, count, keep);
    int64_t equal = keep - (bound < std::numeric_limits<int32_t>::max() ? at_least(value, count, bound + 1) : 0);
    for (int64_t from = 0; from < count; from += BLOCK) {
        const int64_t to = std::min(count, from + BLOCK);
        if (at_least(value + from, to - from, bound) == 0) continue;
        for (int64_t i = from; i < to; ++i)
            if (value[i] > bound || (value[i] == bound && equal-- > 0)) *index++ = static_cast<int32_t>(i);
    }
}

void select(const Select& c, double openness, int64_t batch, int64_t head, int64_t row) {
    thread_local std::vector<int32_t> value;
    const int64_t at = (batch * c.heads + head) * c.rows + row;
    const float* score = c.score + at * c.regions;
    const uint8_t* complete = c.complete + batch * c.complete_batch + row * c.complete_row;
    value.resize(c.regions);
    int32_t* values = value.data();
    int64_t able = 0;
    for (int64_t r = 0; r < c.regions; ++r) values[r] = complete[r] ? sortable(score[r]) : SHUT;
    for (int64_t r = 0; r < c.regions; ++r) able += complete[r];
    const double beyond = static_cast<double>(std::max<int64_t>(able - c.k, 0));
    const int64_t keep = std::min(able, c.k + static_cast<int64_t>(std::ceil(openness * beyond)));
    int32_t* index = c.index + at * c.slots;
    if (keep > 0) list(values, c.regions, keep, index);
    std::fill(index + keep, index + c.slots, -1);
}

}  // namespace

extern "C" void gaze_scores(const Scores* call, double) {
    const int64_t jobs = call->batch * call->kv_heads;
#pragma omp parallel for num_threads(call->threads) if (call->threads > 1)
    for (int64_t job = 0; job < jobs; ++job) score(*call, job / call->kv_heads, job % call->kv_heads);
}

extern "C" void gaze_select(const Select* call, double openness) {
    const int64_t jobs = call->batch * call->heads;
#pragma omp parallel for num_threads(call->threads) if (call->threads > 1)
    for (int64_t job = 0; job < jobs; ++job)
        for (int64_t row = 0; row < call->rows; ++row) select(*call, openness, job / call->heads, job % call->heads, row);
}
