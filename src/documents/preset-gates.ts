/**
 * Gates that Tidegate brings along, as a person would write them: the `spec` of a Gate document each, by name. Signals, events and
 * metrics have the names that the documentation uses; whose devices call them otherwise copies the gate.
 */
export const GATE_PRESETS: Readonly<Record<string, string>> = {
  'crash-rate': `
  description: Crashes per device-hour, against untouched devices in the same hours. The one to begin with; it may be looked at at any time.
  events: crash
  ladder: standard
`,
  'crash-2x': `
  description: Halts as soon as more than twice the crashes of untouched devices are seen, however few that is. For rules that have to be kept to the letter; crash-rate halts fewer healthy releases.
  events: crash
  method: threshold
  haltRatio: 2
  # Of a few crashes the ratio says little: people look, and nothing returns by itself.
  ladder:
  - {from: 0, severity: moderate, action: pause, within: 48h}
`,
  'crash-3x': `
  description: As crash-2x, at three times the crashes.
  events: crash
  method: threshold
  haltRatio: 3
  ladder:
  - {from: 0, severity: moderate, action: pause, within: 48h}
`,
  'crash-loops': `
  description: Devices that crash again and again and do not come up. No more of them than untouched devices have.
  events: crash-loop
  margin: 1
  ladder:
  - {from: 0, severity: high, action: pause, within: 24h}
  - {from: 10, severity: critical, action: rollBack, within: 4h}
`,
  'reboot-rate': `
  description: Unexpected reboots per device-hour, against untouched devices. The reboot into the new revision does not count.
  events: reboot
  ladder: standard
`,
  'error-rate': `
  description: Errors per device-hour, against untouched devices. An hour of a device counts once, however many errors it had.
  events: error
  ladder: standard
`,
  'protocol-errors': `
  description: Errors in talking to others (a bus, a cloud, another device) per device-hour, against untouched devices.
  events: protocol-error
  ladder: standard
`,
  connectivity: `
  description: Five points fewer devices are heard of than of untouched ones, as 90 of 100 where it is 95 elsewhere. Where networks fail for all, it says nothing.
  share: silent
  drop: {points: 5}
  ladder:
  - {from: 0, severity: high, action: pause, within: 24h}
`,
  unresponsive: `
  description: More than a twentieth of the devices that began with the revision are not heard of any more. They return at once.
  share: silent
  above: 5%
  ladder: silence
`,
  'failure-rate': `
  description: Up to 2% of the devices that try may fail. Weighs how sure it is, where an error threshold counts.
  share: failed
  allowed: 2%
  ladder: standard
`,
  'rollback-rate': `
  description: More than 10% of the devices that tried went back by themselves.
  share: rolledBack
  above: 10%
  ladder: standard
`,
  'battery-drain': `
  description: Batteries drain more than 1.2 times as fast as those of untouched devices.
  metric: battery_drain
  method: threshold
  haltRatio: 1.2
  ladder: standard
`,
  'battery-watch': `
  description: As battery-drain, for where it is a nuisance. Below twice as fast it goes on, and somebody looks at it within a week.
  metric: battery_drain
  method: threshold
  haltRatio: 1.2
  ladder: nuisance
`,
  'heating-runtime': `
  description: Heating runs more than 1.15 times as long as with untouched devices, in the same weather.
  metric: heating_runtime
  method: threshold
  haltRatio: 1.15
  ladder: standard
`,
  'sensor-drift': `
  description: How far a sensor is off its reference, on average, against untouched devices.
  metric: sensor_drift
  margin: 1.1
  ladder: standard
`,
  latency: `
  description: How long an answer takes, on average, against untouched devices. A quarter more is still allowed.
  metric: latency_ms
  margin: 1.25
  ladder: standard
`,
  kpi: `
  description: A figure that is better when it is higher lies about a tenth below that of untouched devices, in each of three whole hours.
  metric: kpi
  worse: lower
  method: threshold
  haltRatio: 1.1
  for: 3h
  ladder: standard
`,
  'kpi-before': `
  description: As kpi, against what the known-good attempt recorded for a gate that the rollout gives the same name.
  metric: kpi
  worse: lower
  against: previous
  method: threshold
  haltRatio: 1.1
  for: 3h
  ladder: standard
`,
  tickets: `
  description: More than 100 support tickets within any four hours. Post them to /v1/observations, also where there are none.
  observations: support-tickets
  above: 100
  window: 4h
  ladder: triage
`,
  health: `
  description: The software of the device says that it is well.
  expression: runtime_healthy && adapter_connected
`,
  telemetry: `
  description: Measurements arrive without gaps, and none is lost.
  expression: gap < 10s && drops == 0
`,
  behavior: `
  description: The acceptance suite has passed on the device itself.
  expression: acceptance_suite_passed
`,
};
