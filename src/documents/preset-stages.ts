/**
 * Stage plans that Tidegate brings along, as a person would write them: the `spec` of a StagePlan document each, by name. Gates that come
 * with a plan ask only for what every device reports, or else the description says so: what nobody reports would keep a stage open.
 */
export const STAGE_PRESETS: Readonly<Record<string, string>> = {
  'textbook-canary': `
  description: One percent, five, a quarter, everyone, in days. For fleets that are used all day and devices that can be reached.
  gates:
    crashes: {use: crash-rate}
    connectivity: {use: connectivity}
    rollbacks: {use: rollback-rate}
  stages:
  - {name: canary, size: 1%, soak: {min: 1h, max: 2h}}
  - {name: early, size: 5%, soak: {min: 6h, max: 12h}}
  - {name: quarter, size: 25%, soak: 24h}
  # Nobody is left to compare with: connectivity could say nothing here.
  - {name: fleet, size: all, soak: {min: 3d, max: 7d}, gates: [crashes, rollbacks]}
`,
  'alpha-to-full': `
  description: Six stages in two to five weeks, from ten devices on which any failure counts to everyone. For devices whose failure is expensive; the more devices, the stricter.
  # How many times the crashes of untouched devices are still allowed. They bet, so that one crash among ten devices is no verdict.
  gates:
    crashes-2x: {events: crash, margin: 2}
    crashes-1.5x: {events: crash, margin: 1.5}
    crashes-1.2x: {events: crash, margin: 1.2}
  stages:
  # 10 to 50 devices.
  - {name: alpha, size: 10 devices, soak: {min: 24h, max: 48h}, errorThreshold: 1, gates: [crashes-2x]}
  # 1 to 5 %.
  - {name: beta, size: 2%, soak: {min: 3d, max: 7d}, gates: [crashes-2x]}
  - {name: canary, size: 5%, soak: {min: 6h, max: 24h}, gates: [crashes-2x]}
  # 5 to 25 %.
  - {name: early, size: 25%, soak: {min: 24h, max: 72h}, gates: [crashes-1.5x]}
  # 25 to 50 %.
  - {name: regional, size: 50%, soak: {min: 3d, max: 7d}, gates: [crashes-1.5x]}
  # 50 to 100 %.
  - {name: full, size: all, soak: {min: 7d, max: 14d}, gates: [crashes-1.2x]}
`,
  rings: `
  description: Four rings by number of devices, as large software companies have them, in four to eight weeks.
  gates:
    crashes: {use: crash-rate}
  stages:
  # 1 to 10, 10 to 100, 100 to 1,000 devices; each ring contains the ones before it.
  - {name: insiders, size: 10 devices, soak: {min: 1d, max: 3d}, errorThreshold: 1}
  - {name: alpha, size: 100 devices, mode: cumulative, soak: {min: 3d, max: 7d}}
  - {name: beta, size: 1000 devices, mode: cumulative, soak: {min: 7d, max: 14d}}
  - {name: production, size: all, soak: {min: 14d, max: 28d}}
`,
  thermostat: `
  description: A week for a quarter of a million thermostats, and an example of a plan with its own triggers. Devices must report heating_runtime, and somebody must post support-tickets.
  gates:
    crashes: {use: crash-3x}
    rollbacks: {share: rolledBack, above: 2%, ladder: triage}
    tickets: {use: tickets}
    heating: {use: heating-runtime}
  stages:
  - {name: canary, size: 0.5%, soak: 6h}
  - {name: early, size: 5%, soak: 24h}
  - {name: quarter, size: 25%, soak: 48h}
  - {name: fleet, size: all, soak: 72h}
`,
  'by-site': `
  description: One site, ten more, then all. For devices that depend on each other, so that a site has one version. Gates are the rollout's own, as health, telemetry and behavior.
  stages:
  - {name: canary, size: 1 site, soak: 24h}
  - {name: batch, size: 10 sites, soak: 24h}
  - {name: fleet, size: all, soak: 24h}
`,
};
