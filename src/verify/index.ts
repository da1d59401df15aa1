/** What a device needs to know whether it may install something: `tidegate/verify`. It needs no part of the server. */
export {
  type Acceptance,
  type AcceptedArtifact,
  acceptAssignment,
  type DeviceView,
  type Floors,
  type Refusal,
} from './assignment.ts';
export { httpFetch } from './http-fetch.ts';
export { downloadTarget, findTarget, refresh, type TrustedFiles, type TufPorts } from './tuf-client.ts';
