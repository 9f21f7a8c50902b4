// Timesteps and noise levels of a number of rounds, from what the scheduler's config says.

// One entry for each round, first to last: timestep, level before, level after (`next`).
export function rounds({ alphas, config }, count) {
  const most = alphas.length;
  if (most === 0 || count < 1 || count > most) {
    return [];
  }
  const levels = timesteps(config, most, count).map((timestep) => ({
    timestep,
    ...level(alphas[timestep]),
  }));
  const end = level(config.set_alpha_to_one === false ? alphas[0] : 1);
  return levels.map((one, at) => ({ ...one, next: levels[at + 1] ?? end }));
}

// `set_timesteps` of diffusers' schedulers, for the three values of `timestep_spacing`.
function timesteps(config, most, count) {
  const rows = Array.from({ length: count }, (_, at) => at);
  const last = most - 1;
  const spacing = config.timestep_spacing ?? "leading";
  const found = {
    linspace: () => rows.map((at) => (count > 1 ? last - (last * at) / (count - 1) : 0)),
    trailing: () => rows.map((at) => most - (at * most) / count - 1),
    leading: () =>
      rows.map(
        (at) => (count - 1 - at) * Math.floor(most / count) + (config.steps_offset ?? 0),
      ),
  }[spacing];
  return (found ?? (() => []))().map((one) => Math.min(last, Math.max(0, Math.round(one))));
}

// A share of the signal's variance as amplitudes, and as sigma of the Euler family.
function level(alpha) {
  return {
    alpha,
    signal: Math.sqrt(alpha),
    noise: Math.sqrt(1 - alpha),
    sigma: Math.sqrt((1 - alpha) / alpha),
  };
}
