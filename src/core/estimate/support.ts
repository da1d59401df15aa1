/** What a stage costs the people who help, should all of it have to go back. */

export interface SupportLoad {
  /** Devices on which the way back fails, each of which is a ticket: devices × ratio. Not rounded: it is an expectation. */
  readonly tickets: number;
  /** Devices that go back by themselves. */
  readonly returned: number;
  /** tickets ÷ what support takes in a day; undefined where nobody has said what that is. */
  readonly daysOfSupport?: number;
}

/** `rollbackFailureRatio`: 0 to 1. `ticketsPerDay`: above 0. */
export function supportLoad(given: {
  readonly devices: number;
  readonly rollbackFailureRatio: number;
  readonly ticketsPerDay?: number;
}): SupportLoad {
  const { devices, rollbackFailureRatio, ticketsPerDay } = given;
  const tickets = devices * rollbackFailureRatio;
  return {
    tickets,
    returned: devices - tickets,
    ...(ticketsPerDay === undefined ? {} : { daysOfSupport: tickets / ticketsPerDay }),
  };
}
