// Where one way to compute takes over from another. Tests set lower ones.
#pragma once

#include <cstdint>

#ifndef ND_CHUNK_BYTES
#define ND_CHUNK_BYTES (32 << 20)
#endif
#ifndef ND_LARGE_FEATURES
#define ND_LARGE_FEATURES 384
#endif
#ifndef ND_PLENTIFUL_SAMPLES
#define ND_PLENTIFUL_SAMPLES 2048
#endif
#ifndef ND_LARGE_FOLD_TILES
#define ND_LARGE_FOLD_TILES 132
#endif
#ifndef ND_FEW_TILES
#define ND_FEW_TILES 40
#endif

namespace nd {

// Split samples that are kept at a time: they are to stay in the cache of the largest GPUs.
constexpr std::int64_t kChunkBytes = ND_CHUNK_BYTES;
// LargeTile pays from so many features on, and a covariance or a fold with so many samples or
// tiles: one for each multiprocessor of the largest GPUs.
constexpr int kLargeFeatures = ND_LARGE_FEATURES;
constexpr int kPlentifulSamples = ND_PLENTIFUL_SAMPLES;
constexpr int kLargeFoldTiles = ND_LARGE_FOLD_TILES;
// With fewer tiles than this of MediumTile, SmallTile's are faster.
constexpr int kFewTiles = ND_FEW_TILES;

}  // namespace nd
