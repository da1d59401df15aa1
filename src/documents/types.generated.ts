/** Generated from schemas/ by `npm run generate`; do not edit. */

export type Document =
  Fleet | DistributionSet | Rollout | StagePlan | Gate | Flag | Group | Site | DeviceList | Operation;
/**
 * The version of the document format.
 */
export type ApiVersion = 'tidegate.dev/v1';
/**
 * A name, unique within its kind: lower-case letters, digits, dashes and dots.
 */
export type Name = string;
/**
 * A length of time, as in 90s, 6h, 1h30m or 2d.
 */
export type Duration = string;
/**
 * An instant, RFC 3339: date, time and time zone.
 */
export type Instant = string;
/**
 * A percentage; 0% is none. A millionth of the fleet is the smallest step.
 */
export type Share = string;
/**
 * The name of a tag that devices carry.
 */
export type TagName = string;
/**
 * A distribution set's name: product, @ and version.
 */
export type DistributionSetName = string;
/**
 * Which devices: a condition, or {group: <name of a Group document>}.
 */
export type TargetCondition =
  | string
  | {
      group: Name;
    };
/**
 * Which devices, in Azure IoT Edge's language: deviceId and tags compared with =, <>, IN and STARTSWITH, joined with AND, OR and NOT. A missing tag makes a comparison false.
 */
export type Condition = string;
/**
 * A CEL expression over a device's signals; or {use: <name of a Gate document>}; or one of the gates that judge the stage as a whole.
 */
export type GateEntry = GateRule | GateExpression;
/**
 * A CEL expression over the signals of a device's latest report; durations are written as 10s. A signal that is missing never passes.
 */
export type GateExpression = string;
/**
 * What a breach does, by how many times what is normal it is.
 *
 * @minItems 1
 * @maxItems 16
 */
export type Ladder =
  | string
  | {
      /**
       * From this many times what is normal on.
       */
      from: number;
      /**
       * How bad it is.
       */
      severity: 'low' | 'moderate' | 'high' | 'critical';
      /**
       * What is done: noted only; nothing new offered and watched; nothing new offered; devices return.
       */
      action: 'continue' | 'monitor' | 'pause' | 'rollBack';
      within: Duration;
    }[];
/**
 * A stage, as the shorthand `canary: 1 site` or with all of its settings.
 */
export type StageEntry = StageShorthand | Stage;
/**
 * How many: a share (5%, 0.5 %, 5% of sites), a count (250, 250 devices, 10 sites) or all. A word names a tag whose values enter whole; a final s is taken off it, so that sites means the tag site.
 */
export type Size = string | number;
/**
 * Only devices that match this, besides the rollout's target condition, enter by this stage, and its size counts those: a condition, or {group: <name of a Group document>}. With deviceId IN it may list devices by the thousand.
 */
export type Selection =
  | string
  | {
      group: Name;
    };
/**
 * How long the stage is watched once its success threshold is reached, before it can pass: so long, or at least min and, unless its gates are certain before, max.
 */
export type Soak =
  | string
  | {
      min: Duration;
      max: Duration;
    };
/**
 * A share of the stage's devices, or a count of them. A count of 1 as error threshold means: any failure.
 */
export type Threshold = string | number;
/**
 * The slowest kind of bug that has to show before a stage may pass: catastrophic ones take at least 6h, moderate ones 48h, rare ones 7d. A soak that is shorter becomes that long.
 */
export type BugClass = 'catastrophic' | 'moderate' | 'rare';
/**
 * The stages in the order in which they open. Every stage contains the ones before it.
 *
 * @minItems 1
 * @maxItems 500
 */
export type StageList = StageEntry[];
/**
 * A flag's or a variant's key: letters, digits, dots, dashes and underscores.
 */
export type FlagKey = string;
/**
 * One rule of a flag: one variant, or several that share the devices.
 */
export type FlagRule = FlagSplit | FlagVariant;

/**
 * What holds for the whole fleet. There is exactly one, in fleet/fleet.yaml; its name is the fleet's.
 */
export interface Fleet {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Fleet';
  metadata: Metadata;
  /**
   * Settings of the fleet; all of them have defaults.
   */
  spec: {
    pollInterval?: Duration;
    /**
     * The time zone of install windows that name none, and of devices without the tag that a window reads it from.
     */
    timezone?: string;
    /**
     * Until an instant nothing opens, except for the rollouts named. Breaches still stop what runs.
     */
    freeze?: {
      until: Instant;
      /**
       * Rollouts that may go on.
       */
      except?: Name[];
    };
    /**
     * Whether risky rollouts (no gates, one stage of everything, …) only warn or block the snapshot.
     */
    policy?: 'warn' | 'enforce';
    /**
     * Types of distribution sets, and the modules that every set of a type must have.
     */
    distributionSetTypes?: {
      /**
       * What a set of this type must have.
       */
      [k: string]: {
        /**
         * Modules without which a device of this type does not work.
         */
        requiredModules: Name[];
      };
    };
    /**
     * Who is told of decisions and deadlines.
     *
     * @maxItems 32
     *
     * Items: One receiver.
     */
    notifications?: {
      /**
       * The address that receives a POST per notice. Everybody who can read the repository can read it: an address that is a secret belongs into urlFrom.
       */
      url?: string;
      /**
       * Where the server finds the address, if it is a secret, as Slack's are.
       */
      urlFrom?: {
        /**
         * A variable of the server's environment.
         */
        env: string;
      };
      /**
       * What is sent: a CloudEvent, or a message as Slack and those who understand its webhooks take it.
       */
      format?: 'cloudevents' | 'slack';
      /**
       * What is announced. Unless said: approvalNeeded, paused, succeeded, stopped, superseded, rolledBack, diverged, concern, cohortReturned and deadline.
       *
       * @minItems 1
       *
       * Items: What happened to a rollout; deadline: one comes near, or has passed.
       */
      on?: (
        | 'created'
        | 'approvalNeeded'
        | 'stageOpened'
        | 'stagePassed'
        | 'paused'
        | 'resumed'
        | 'succeeded'
        | 'stopped'
        | 'superseded'
        | 'rolledBack'
        | 'restored'
        | 'diverged'
        | 'concern'
        | 'cohortReturned'
        | 'deadline'
      )[];
    }[];
    /**
     * What a distribution set must have in its evidence before a rollout of it starts.
     *
     * @maxItems 16
     */
    require?: Name[];
    /**
     * What tidegate plan reckons with and cannot know: how often things happen anyway, and what going back costs. Devices get nothing of it.
     */
    planning?: {
      /**
       * How often each event happens on a device when nothing is wrong. A gate with a rate of its own goes by that; without either, plans go by what the fleet has reported.
       */
      rates?: {
        /**
         * Incidents per device and hour (/h) or day (/d).
         */
        [k: string]: string;
      };
      installTime?: Duration;
      analysisTime?: Duration;
      rollbackFailures?: Share;
      /**
       * How many tickets support takes in a day.
       */
      supportCapacity?: number;
      /**
       * What a device's link carries.
       */
      link?: string;
      /**
       * How many times the time at the link's rate a download takes, with protocols and pauses.
       */
      transferOverhead?: number;
      retries?: Share;
      /**
       * What a delta has of a full image, where devices can apply deltas.
       */
      delta?: {
        changed: Share;
        overhead?: Share;
      };
      /**
       * Tags of which the first stage should have every value that the fleet has: what it does not have, it cannot find.
       *
       * @maxItems 8
       */
      coverTags?: TagName[];
    };
  };
}
/**
 * Who the document is: its name, and labels and annotations that do not change what devices run.
 */
export interface Metadata {
  name: Name;
  labels?: Labels;
  annotations?: Annotations;
}
/**
 * Short texts to find and group documents by.
 */
export interface Labels {
  [k: string]: string;
}
/**
 * Notes for people and other tools. Of them Tidegate reads tidegate.dev/allow.<rule>: why this document may break a rule of validation.
 */
export interface Annotations {
  [k: string]: string;
}
/**
 * What to install on a device. Immutable once a rollout has used it: a new version is a new document.
 */
export interface DistributionSet {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'DistributionSet';
  /**
   * Who the set is. Its name is the reference that rollouts use.
   */
  metadata: {
    name: DistributionSetName;
    labels?: Labels;
    annotations?: Annotations;
  };
  /**
   * What the set consists of.
   */
  spec: {
    /**
     * What is in it, for people.
     */
    description?: string;
    type?: Name;
    /**
     * The software on the device. An empty list takes all of it away.
     *
     * @maxItems 256
     *
     * Items: One piece of software on the device.
     */
    modules: {
      name: Name;
      /**
       * The module's version. Put it in quotes where YAML would read a number.
       */
      version: string;
      /**
       * How the device installs it.
       */
      type: string;
      /**
       * Whether the module runs.
       */
      status?: 'running' | 'stopped';
      /**
       * When the device starts the module again.
       */
      restartPolicy?: 'always' | 'on-failure' | 'on-unhealthy' | 'never';
      /**
       * A container image, registry included.
       */
      image?: string;
      registryCredential?: Name;
      /**
       * Environment variables. No secrets: whoever can read the repository can read them.
       */
      env?: {
        /**
         * One value.
         */
        [k: string]: string;
      };
      /**
       * Files that belong to the module.
       *
       * @maxItems 64
       *
       * Items: A file that devices download and verify.
       */
      artifacts?: {
        /**
         * The file's name.
         */
        name: string;
        /**
         * The digest of the file.
         */
        sha256: string;
        /**
         * The length of the file.
         */
        sizeBytes: number;
        /**
         * Where the file can be had; tried in order.
         *
         * @minItems 1
         * @maxItems 16
         *
         * Items: One place.
         */
        urls: string[];
        /**
         * A device refuses an artifact whose epoch is below its own.
         */
        securityEpoch?: number;
        /**
         * The hardware that this artifact is for. Without it, any.
         *
         * @minItems 1
         * @maxItems 64
         *
         * Items: One kind of hardware.
         */
        hardwareIds?: string[];
      }[];
    }[];
    /**
     * Message routes by name, as Azure IoT Edge writes them.
     */
    routes?: {
      /**
       * One route.
       */
      [k: string]: string;
    };
    /**
     * What speaks for the set: reports of test benches, reviews. It is no part of what is installed.
     */
    evidence?: {
      /**
       * Where the evidence is, or what it says.
       */
      [k: string]: string;
    };
  };
}
/**
 * What goes where, in which stages, and what must hold on the way.
 */
export interface Rollout {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Rollout';
  metadata: Metadata;
  /**
   * The rollout.
   */
  spec: {
    /**
     * Who answers for this rollout and is called when it halts.
     */
    owner: string;
    /**
     * What to do when it halts.
     */
    runbook?: string;
    distributionSet: DistributionSetName;
    targetCondition: TargetCondition;
    exclude?: Condition;
    /**
     * Where several rollouts match a device, the larger number wins.
     */
    priority: number;
    /**
     * When the first stage may open: once merged (onMerge, true), not before a later commit says so (manual, false), or at an instant.
     */
    start?: string | boolean;
    /**
     * While true nothing new is offered; devices keep what they run.
     */
    suspend?: boolean;
    /**
     * There is no time to go slowly: validation allows one stage of everyone, and lists it. What the rollout does is the same.
     */
    emergency?: boolean;
    /**
     * What must hold before a device counts as a success, and what the stage as a whole is judged by.
     */
    gates?: {
      [k: string]: GateEntry;
    };
    alpha?: Share;
    /**
     * The stages in order, the name of a StagePlan document, or {split: 5} for five groups of equal size.
     *
     * @minItems 1
     * @maxItems 500
     */
    stages:
      | StageEntry[]
      | string
      | {
          /**
           * How many groups of equal size.
           */
          split: number;
        };
    successThreshold?: Threshold;
    errorThreshold?: Threshold;
    bugClass?: BugClass;
    installWindow?: InstallWindow;
    /**
     * How often a device that failed is offered the revision again.
     */
    retries?: {
      /**
       * How often.
       */
      max: number;
      backoff?: Duration;
    };
    /**
     * What a breach of the error threshold does: pause, return to known-good (rollback), or let its extent choose (ladder).
     */
    onFailure?: 'ladder' | 'pause' | 'rollback';
    /**
     * Another spelling of onFailure.
     */
    onFail?: 'ladder' | 'pause' | 'rollback';
    /**
     * What the random selection starts from. Without it, random bits are drawn with the first attempt and recorded.
     */
    seed?: string;
  };
}
/**
 * One gate: what it looks at, and what is too much. docs/gates.md says when to use which.
 */
export interface GateRule {
  use?: Name;
  /**
   * What it guards against.
   */
  description?: string;
  expression?: GateExpression;
  /**
   * Counts incidents of this event, as reports name it, per device-hour.
   */
  events?: string;
  /**
   * Compares the mean of this signal.
   */
  metric?: string;
  /**
   * Which of the stage's devices are counted: those that failed, that went back by themselves, or that are not heard of.
   */
  share?: 'failed' | 'rolledBack' | 'silent';
  /**
   * Numbers that are posted to /v1/observations under this name.
   */
  observations?: string;
  /**
   * A query that gives one number, asked of the server's Prometheus.
   */
  prometheus?: string;
  /**
   * An address that is asked for a verdict; the server must have been told of its host.
   */
  webhook?: string;
  /**
   * How many distinct people must approve this gate before the stage can pass.
   */
  approval?: number;
  /**
   * What is normal, where it is known.
   */
  rate?: number;
  /**
   * The mean that is normal, where it is known.
   */
  mean?: number;
  /**
   * What it is compared with: devices that the rollout has not reached (control), or what the known-good attempt recorded (previous).
   */
  against?: 'control' | 'previous';
  /**
   * sequential may be looked at at any time and halts for no reason at most in a share alpha of rollouts; threshold halts as soon as the limit is passed, however little was seen.
   */
  method?: 'sequential' | 'threshold';
  /**
   * How many times what is normal is still allowed, for method sequential.
   */
  margin?: number;
  /**
   * More than this many times what is normal halts, for method threshold.
   */
  haltRatio?: number;
  /**
   * Which direction of the metric is bad.
   */
  worse?: 'higher' | 'lower';
  /**
   * What one device may say of the metric; beyond it, it is cut off.
   *
   * @minItems 2
   * @maxItems 2
   *
   * Items: A bound.
   */
  range?: number[];
  allowed?: Share;
  /**
   * More than this halts: a percentage of devices, or a number.
   */
  above?: number | string;
  /**
   * Less than this halts.
   */
  below?: number;
  /**
   * How far the share of devices that are heard of may lie below that of untouched ones: in percentage points, or as a share of it.
   */
  drop?: {
    /**
     * 95 to 90 is 5 points.
     */
    points?: number;
    share?: Share;
  };
  after?: Duration;
  window?: Duration;
  for?: Duration;
  every?: Duration;
  ladder?: Ladder;
}
/**
 * A stage's name and size; everything else as by default.
 */
export interface StageShorthand {
  [k: string]: Size;
}
/**
 * A stage with its settings.
 */
export interface Stage {
  name: Name;
  size: Size;
  where?: Selection;
  /**
   * Whether the size includes the devices of earlier stages. Shares and all do (cumulative), counts do not (incremental), unless this says otherwise.
   */
  mode?: 'cumulative' | 'incremental';
  soak?: Soak;
  successThreshold?: Threshold;
  errorThreshold?: Threshold;
  /**
   * Device-hours that the stage's devices must have run the new revision before it can pass.
   */
  minExposure?: number;
  /**
   * How many distinct people must approve before the stage opens.
   */
  approvals?: number;
  stuckAfter?: Duration;
  /**
   * Tags whose combinations each get a device into the stage before the rest is filled at random.
   *
   * @maxItems 8
   */
  stratifyBy?: TagName[];
  ramp?: Duration;
  holdback?: Share;
  bugClass?: BugClass;
  /**
   * Names of the gates that judge this stage; without it, all of them do. In a StagePlan that brings gates along: which of those, besides all of the rollout's.
   */
  gates?: Name[];
}
/**
 * When devices may begin to install: for its duration from each time that cron names. What was rolled back is left at once.
 */
export interface InstallWindow {
  /**
   * When the window opens: minute, hour, day of month, month, day of week.
   */
  cron: string;
  duration: Duration;
  /**
   * The time zone of the window: one for all, or each device's own from a tag. Without it, and for devices without the tag, the fleet's.
   */
  timezone?:
    | string
    | {
        tag: TagName;
      };
}
/**
 * Stages that several rollouts use by name.
 */
export interface StagePlan {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'StagePlan';
  metadata: Metadata;
  /**
   * The plan.
   */
  spec: {
    stages: StageList;
    /**
     * Gates that the plan brings along. A stage is judged by those of them that it lists, and by all gates of the rollout; one of the rollout's with the same name takes the place of the plan's.
     */
    gates?: {
      [k: string]: GateEntry;
    };
    /**
     * When to use it.
     */
    description?: string;
  };
}
/**
 * A gate that several rollouts use by name.
 */
export interface Gate {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Gate';
  metadata: Metadata;
  spec: GateRule;
}
/**
 * A feature flag, evaluated per device.
 */
export interface Flag {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Flag';
  /**
   * Who the flag is: its key, and labels and annotations that devices do not get.
   */
  metadata: {
    name: FlagKey;
    labels?: Labels;
    annotations?: Annotations;
  };
  /**
   * The flag.
   */
  spec: {
    /**
     * Who answers for this flag.
     */
    owner: string;
    /**
     * What it switches.
     */
    description?: string;
    /**
     * The kill switch: while false every device gets the default variant, whatever the rules say.
     */
    enabled?: boolean;
    /**
     * The values by variant. All of one type.
     */
    values: {
      /**
       * One value.
       */
      [k: string]: boolean | number | string;
    };
    default: FlagKey;
    /**
     * Tried in order; the first that applies decides.
     *
     * @maxItems 64
     */
    rules?: FlagRule[];
    /**
     * What the percentages start from. Without it, the flag's name.
     */
    seed?: string;
  };
}
/**
 * A rule that divides the devices among variants.
 */
export interface FlagSplit {
  targetCondition?: TargetCondition;
  percentage?: Share;
  /**
   * The variants that they get, each with its share of them. Those that are left over go on to the next rule.
   */
  split: {
    [k: string]: Share;
  };
}
/**
 * A rule that gives one variant.
 */
export interface FlagVariant {
  targetCondition?: TargetCondition;
  percentage?: Share;
  variant: FlagKey;
}
/**
 * A named target condition.
 */
export interface Group {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Group';
  metadata: Metadata;
  /**
   * The group.
   */
  spec: {
    targetCondition: Condition;
    /**
     * Who is in it.
     */
    description?: string;
  };
}
/**
 * What one site has differently.
 */
export interface Site {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Site';
  metadata: Metadata;
  /**
   * The site.
   */
  spec: {
    /**
     * The value of the tag site that this document is about.
     */
    site: string;
    /**
     * The only settings that a site may change.
     */
    overrides: {
      pollInterval?: Duration;
      installWindow?: InstallWindow;
    };
  };
}
/**
 * What operators say of single devices: tags, and which are retired or revoked.
 */
export interface DeviceList {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'DeviceList';
  metadata: Metadata;
  /**
   * The list.
   */
  spec: {
    /**
     * The devices. A small fleet may list all of its devices here.
     *
     * @maxItems 10000
     *
     * Items: One device.
     */
    devices: {
      /**
       * The device's id.
       */
      id: string;
      /**
       * Laid over the tags from enrolment; null takes one away.
       */
      tags?: {
        /**
         * The tag's value.
         */
        [k: string]: string | null;
      };
      /**
       * A retired device matches no rollout and keeps what it runs.
       */
      retired?: boolean;
      /**
       * A revoked device is refused.
       */
      revoked?: boolean;
      /**
       * Why, for people.
       */
      reason?: string;
    }[];
  };
}
/**
 * What people do to a running rollout, whose name the document carries. It lies in ops/.
 */
export interface Operation {
  apiVersion: ApiVersion;
  /**
   * The kind of document.
   */
  kind: 'Operation';
  metadata: Metadata;
  /**
   * What was done, oldest first. Add to it; an entry that was applied is never applied again.
   */
  spec: {
    /**
     * The operations, oldest first.
     *
     * @maxItems 10000
     *
     * Items: One operation.
     */
    operations?: {
      /**
       * What to do.
       */
      action: 'pause' | 'resume' | 'approve' | 'promote' | 'cancel' | 'retry';
      /**
       * The attempt that it is about: it never acts on another one.
       */
      attempt: number;
      stage?: Name;
      gate?: Name;
      /**
       * With promote: back to what succeeded in this rollout before, on all devices at once, past stages, freeze and windows.
       */
      emergency?: true;
      /**
       * Who asks for it.
       */
      by: string;
      at?: Instant;
      /**
       * Why.
       */
      reason?: string;
    }[];
    /**
     * What people learnt from an attempt.
     *
     * @maxItems 10000
     *
     * Items: What was learnt from one attempt.
     */
    learnings?: {
      /**
       * The attempt.
       */
      attempt: number;
      /**
       * What was learnt.
       */
      text: string;
    }[];
  };
}
