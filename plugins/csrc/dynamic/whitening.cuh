// From a batch to the mean and the inverse root of the covariance of its samples.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "covariance_small.cuh"
#include "covariance_split.cuh"
#include "moments.cuh"
#include "newton_schulz.cuh"
#include "newton_schulz_small.cuh"
#include "samples.cuh"
#include "workspace.cuh"

namespace nd {

struct WhiteningRequest {
  SampleLayout layout;
  bool centred;  // whether the mean is taken off
  int n_iter;
  float eps;

  bool small() const { return layout.features <= kSmallFeatures; }
};

// Where the estimates are left and what the way there needs.
struct Whitening {
  WhiteningRequest request;
  MomentParts moments;
  float* mean;    // (groups F)
  float* deconv;  // (groups, F, F): the inverse root, of few features
  NewtonSchulz iteration;  // the inverse root, of many
  SplitCovariance covariance;
  CovarianceParts parts;
  Moment moment;
};

inline Whitening take_whitening(Workspace& workspace, WhiteningRequest const& request) {
  SampleLayout const& layout = request.layout;
  Whitening whitening{};
  whitening.request = request;
  whitening.moments = take_moment_parts(workspace, layout);
  whitening.mean = workspace.take<float>(layout.rows());
  whitening.moment = take_moment(workspace, layout.groups, layout.features);
  if (request.small()) {
    std::int64_t const elements =
        std::int64_t{layout.groups} * layout.features * layout.features;
    whitening.deconv = workspace.take<float>(elements);
    whitening.parts = take_small_parts(workspace, layout);
    return whitening;
  }
  float* const unscale = workspace.take<float>(layout.rows());
  // The matrices of the iteration are written when samples and sums are done with.
  std::size_t const mark = workspace.used();
  whitening.covariance = take_split_covariance(workspace, layout, whitening.mean, unscale);
  whitening.parts = whitening.covariance.parts;
  workspace.rewind(mark);
  whitening.iteration = take_newton_schulz(workspace, whitening.moment, request.n_iter);
  return whitening;
}

template <typename T>
int launch_whitening(T const* maps, Whitening const& whitening, cudaStream_t stream) {
  WhiteningRequest const& request = whitening.request;
  SampleLayout const& layout = request.layout;
  int error = launch_moments(maps, layout, whitening.moments, stream);
  if (error == 0) {
    error = request.small()
                ? launch_covariance_small(maps, layout, whitening.moments, request.centred,
                                          whitening.mean, whitening.parts, stream)
                : launch_split_covariance(maps, layout, whitening.moments, request.centred,
                                          whitening.covariance, stream);
  }
  if (error == 0) {
    error = launch_covariance_parts(whitening.parts, whitening.moment, layout.samples, request.eps,
                                    stream);
  }
  if (error != 0) {
    return error;
  }
  return request.small()
             ? launch_newton_schulz_small(whitening.moment, request.n_iter, whitening.deconv,
                                          stream)
             : launch_newton_schulz(whitening.iteration, whitening.moment, stream);
}

}  // namespace nd
