"""Every metric that Andon reports, each with what to do when it moves. Declarations only.

Those of the job stand here, those of alerts on their way in schemas/delivery_metrics.py. What is in neither can't be
reported (see dataflows/telemetry.py).
"""

from schemas.delivery_metrics import DELIVERED
from schemas.metric import Metric

# --- input ------------------------------------------------------------------------------------------------------------

MESSAGES = Metric(
    "andon_messages_total",
    "counter",
    ("topic",),
    "Messages read from a topic (or file), usable or not.",
    "It stands still while the topic is written to: look at `andon_source_up`, then at `andon_holding_back`. It jumps "
    "after a start: the job catches up, or it was started over without its kept state.",
)
EVENTS = Metric(
    "andon_events_total",
    "counter",
    ("type",),
    "Messages that are canonical events, by type.",
    "One type stops while others go on: the system that sends it has stopped, or sends it in another form (look at "
    "`andon_dead_letters_total`). Ask its owner; what Andon finds about that part of the process is blind meanwhile.",
)
BUFFERED = Metric(
    "andon_buffered_messages",
    "gauge",
    ("lane",),
    "Messages read ahead and held in memory until the lane's other partitions have come as far.",
    "It is high while one partition lags or can't be reached (`andon_holding_back` names it). It is bounded: "
    "partitions ahead are paused. If memory is short, lower `kafka.buffer`.",
)
SOURCE_PAUSED = Metric(
    "andon_paused_partitions",
    "gauge",
    ("lane",),
    "Partitions that are not read for now because they have run ahead of the lane's others.",
    "Some are normal while the job catches up. If it lasts, the partition that `andon_holding_back` names is the one "
    "to mend.",
)
SOURCE_UP = Metric(
    "andon_source_up",
    "gauge",
    ("lane",),
    "1 while the lane's source (broker or files) can be read, 0 while it can't.",
    "0: look at the broker, the network and the credentials; the log says which error it is. Nothing is lost, reading "
    "goes on by itself where it ended, but nothing is found meanwhile.",
)
TOPIC_MISSING = Metric(
    "andon_topic_missing",
    "gauge",
    ("topic",),
    "1 for a topic of `kafka.topics` that does not exist; none where all do.",
    "A topic that comes later is read from its first message. One that should be there: the name in `kafka.topics` is "
    "misspelt, or it is another broker's; nothing of it is found meanwhile, and no lag shows it.",
)
OFFSETS_COMMITTED = Metric(
    "andon_offsets_committed_total",
    "counter",
    (),
    "Commits of the consumer group's offsets, made for those who watch its lag; Andon resumes from its own state.",
    "It stands still while messages come in: the group's lag in other tools is wrong; look at "
    "`andon_offset_commit_failures_total`.",
)
OFFSET_COMMIT_FAILURES = Metric(
    "andon_offset_commit_failures_total",
    "counter",
    (),
    "Commits of offsets that the broker refused or did not answer.",
    "Andon loses nothing by it. If it goes on rising, check the rights of the consumer group and the broker's health.",
)

# --- time -------------------------------------------------------------------------------------------------------------

LAG_MESSAGES = Metric(
    "andon_lag_messages",
    "gauge",
    ("topic", "partition"),
    "Messages in a partition that are not processed yet.",
    "It rises for all: the job is slower than its input; see `andon_epoch_seconds` and `andon_insert_seconds` for "
    "where the time goes, and add processes. It rises for one: look at that partition's leader and at its key's skew.",
)
LAG_SECONDS = Metric(
    "andon_lag_seconds",
    "gauge",
    ("topic", "partition"),
    "How long ago the last processed message of a partition was logged; 0 where everything is processed.",
    "Findings are late by so much. As for `andon_lag_messages`.",
)
WATERMARK_AGE = Metric(
    "andon_watermark_age_seconds",
    "gauge",
    ("lane",),
    "How far a lane's watermark is behind the clock: nothing that arrived since is processed yet.",
    "The slowest lane decides for all: deadlines and windows wait for it. Find its partition in `andon_holding_back`. "
    "Somewhat above `time.idle_grace` (`time.idle_grace_appended`) is normal while nothing comes in.",
)
HELD_BACK_BY = Metric(
    "andon_holding_back",
    "gauge",
    ("lane", "topic", "partition"),
    "1 for the partition that holds its lane's watermark back.",
    "The same one for long, with a growing watermark age: that partition can't be reached, or one producer writes far "
    "behind the others. Bring its leader back; a partition that is empty and at its end holds nothing back.",
)

OVERTAKEN = Metric(
    "andon_overtaken_messages_total",
    "counter",
    ("topic",),
    "Messages that a quiet partition brought after time had gone on past them: they count as having arrived then.",
    "A few after a change of the partition's leader are normal. Steadily: producers hold messages back for longer than "
    "`time.idle_grace`, or the brokers' clocks are off from this machine's by more than `time.idle_grace_appended`. "
    "Nothing is lost, but a replay of the log puts these messages earlier. Mend the clocks, or raise the setting.",
)

# --- what does not go through -----------------------------------------------------------------------------------------

DEAD_LETTERS = Metric(
    "andon_dead_letters_total",
    "counter",
    ("reason",),
    "Messages that could not be used, by reason: transport, schema, rule or downstream.",
    "`andon dlq list --reason …` shows them with the field that offends. transport, schema: a producer has changed; "
    "tell its owner. rule: a clock is off, or `time.max_past` is too short for a backfill. downstream: the store "
    "refused a row. Once it is mended: docs/running.md, *Dead letters*.",
)
DEAD_LETTER_RATIO = Metric(
    "andon_dead_letter_ratio",
    "gauge",
    (),
    "Share of the messages of `observe.dead_letter_window` that were dead letters, 0 to 1.",
    "Over `observe.dead_letter_share` the job says that it is not healthy: its findings are about what is left of the "
    "input. Act as for `andon_dead_letters_total`; restarting does not help.",
)
DEAD_LETTERS_FORWARDED = Metric(
    "andon_dead_letters_forwarded_total",
    "counter",
    (),
    "Dead letters that were also written to the dead letter topic.",
    "It falls behind `andon_dead_letters_total`: the broker does not take them. They are all in the store's "
    "`dead_letters` all the same.",
)
DUPLICATES = Metric(
    "andon_duplicates_total",
    "counter",
    (),
    "Events dropped because the same (source, event_id) had come before; kept in `duplicate_events`.",
    "A burst after a producer's restart is normal. A steady rate: a producer sends everything twice; tell its owner. "
    "It costs time, not correctness.",
)
LATE_EVENTS = Metric(
    "andon_late_events_total",
    "counter",
    ("stage",),
    "Events that came too late for a window to be corrected, by stage; kept in `late_events`.",
    "The views lack what they would have changed. If the delay is real and repeats, lengthen `time.window_retention`; "
    "else find the source in `late_events` and have it send in time.",
)
WITHHELD = Metric(
    "andon_withheld_findings",
    "gauge",
    ("source",),
    "Sequence findings withheld since the job began, because they follow from this source's wrong clock alone; their "
    "passes stand in `handoffs` as `out_of_sequence` all the same.",
    "It grows while the source's clock is off. With a `clock_skew` finding about it: set that clock right. Without "
    "one, it is off by less than is reported, or always was: have its owner look at NTP and at the database's zone.",
)

# --- epochs and state -------------------------------------------------------------------------------------------------

EPOCH_SECONDS = Metric(
    "andon_epoch_seconds",
    "histogram",
    (),
    "From one snapshot to the next.",
    "Far longer than `engine.epoch`: a batch or a write takes that long. Compare `andon_snapshot_seconds` and "
    "`andon_insert_seconds`. What is read again after a crash is one epoch.",
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 10.0, 10.5, 11.0, 12.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0),
)
SNAPSHOT_SECONDS = Metric(
    "andon_snapshot_seconds",
    "histogram",
    (),
    "Time spent on making one epoch's snapshots in this process.",
    "It is time in which nothing is processed. Above a tenth of `andon_epoch_seconds`: lengthen `engine.epoch`, or "
    "find in `andon_state_entries` what has grown.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
SNAPSHOT_BYTES = Metric(
    "andon_snapshot_bytes",
    "gauge",
    (),
    "Size of the last epoch's snapshots of this process, compressed as they are kept.",
    "It grows with what is open. Watch the room on the recovery volume; `andon_state_entries` says what has grown.",
)
STATE_ENTRIES = Metric(
    "andon_state_entries",
    "gauge",
    ("operator", "what"),
    "What operators keep, over all key groups of this process.",
    "cases, open_passes: work that does not end; see the `handoffs` view for where it stands. held: one lane or group "
    "is behind the others, see `andon_watermark_age_seconds`. windows: many late corrections. ids near "
    "`engine.dedup_max_ids` in each group, or turned_early rises: ids were let go before `time.dedup_horizon` and a "
    "repeat may come through; raise `engine.dedup_max_ids` or the number of groups.",
)

# --- the store --------------------------------------------------------------------------------------------------------

STORE_UP = Metric(
    "andon_store_up",
    "gauge",
    (),
    "1 while ClickHouse takes what it is given, 0 while Andon waits for it.",
    "0: look at ClickHouse. Andon keeps what it has, stops reading and tries again for as long as it takes; nothing is "
    "lost.",
)
ROWS_WRITTEN = Metric(
    "andon_rows_written_total",
    "counter",
    ("table",),
    "Rows that ClickHouse has taken.",
    "It stands still while events come in: look at `andon_store_up` and `andon_watermark_age_seconds`.",
)
BLOCKS_WRITTEN = Metric(
    "andon_blocks_written_total",
    "counter",
    ("table",),
    "Inserts that ClickHouse has taken.",
    "Rows divided by blocks is the block size: far below a hundred at a high rate means many small parts to merge; "
    "lengthen `engine.epoch`.",
)
ROWS_REFUSED = Metric(
    "andon_rows_refused_total",
    "counter",
    ("table",),
    "Rows that ClickHouse refused for what is in them; each is a dead letter with reason downstream.",
    "`andon dlq list --reason downstream` says why. If it is the table and not the row (a migration is missing, a "
    "column was changed by hand), `andon migrate --status` tells.",
)
WRITE_RETRIES = Metric(
    "andon_write_retries_total",
    "counter",
    (),
    "Inserts that were tried again because ClickHouse did not answer or was overloaded.",
    "A few at a restart of ClickHouse are normal. Steadily rising: it is short of memory, of disk or of merges "
    "(`TOO_MANY_PARTS`).",
)
INSERT_SECONDS = Metric(
    "andon_insert_seconds",
    "histogram",
    ("table",),
    "How long an insert took, from sending it to its answer.",
    "It rises: ClickHouse is busy or far away. While an insert lasts, its process does nothing else.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)

# --- the job ----------------------------------------------------------------------------------------------------------

END_TO_END = Metric(
    "andon_end_to_end_seconds",
    "histogram",
    ("table",),
    "From a message's time in the log to when the row that it caused could be queried.",
    "This is how late Andon's word is. Of windows it counts from when their grace is over. It rises with "
    "`andon_lag_seconds` (the job is behind), `andon_watermark_age_seconds` (one partition is) or "
    "`andon_insert_seconds` (the store is).",
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
HEALTHY = Metric(
    "andon_healthy",
    "gauge",
    (),
    "1 while the job makes progress and most of its input is usable.",
    "0: `andon status` and `/readyz` say why. No progress: look at the last lines of the log; a restart is in order "
    "and loses nothing. Dead letters: act as for `andon_dead_letters_total`.",
)
READY = Metric(
    "andon_ready",
    "gauge",
    (),
    "1 while the process has resumed, is consuming, and every condition holds.",
    "0 for minutes after a start is normal with much state to resume. Else `andon_condition` and `/readyz` name the "
    "condition that fails.",
)
CONDITION = Metric(
    "andon_condition",
    "gauge",
    ("condition",),
    "1 while a condition of being ready holds (`source`, `store`, `resumed`, `input`, …), 0 while it fails.",
    "`/readyz` and `andon status` say why it fails, in words.",
)
LAST_PROGRESS = Metric(
    "andon_last_progress_timestamp_seconds",
    "gauge",
    (),
    "When the job last made progress, as Unix time. Asking a source that has nothing new is progress.",
    "Older than `observe.stalled_after`: the process hangs; it is restarted where `/healthz` is its liveness probe.",
)
BUILD_INFO = Metric(
    "andon_build_info",
    "gauge",
    ("version", "process"),
    "1; which version this is, and which process of the job.",
    "More than one version at a time: an update is under way, or has stopped half way. All processes of a job must be "
    "of one version.",
)

#: By what they are about, in the order in which a person reads them.
_JOB_AREAS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    (
        "What comes in",
        (
            MESSAGES,
            EVENTS,
            SOURCE_UP,
            TOPIC_MISSING,
            BUFFERED,
            SOURCE_PAUSED,
            OFFSETS_COMMITTED,
            OFFSET_COMMIT_FAILURES,
        ),
    ),
    ("How far it has come", (LAG_MESSAGES, LAG_SECONDS, WATERMARK_AGE, HELD_BACK_BY, OVERTAKEN)),
    (
        "What does not go through",
        (DEAD_LETTERS, DEAD_LETTER_RATIO, DEAD_LETTERS_FORWARDED, DUPLICATES, LATE_EVENTS, WITHHELD),
    ),
    ("Epochs and state", (EPOCH_SECONDS, SNAPSHOT_SECONDS, SNAPSHOT_BYTES, STATE_ENTRIES)),
    (
        "What is written",
        (STORE_UP, ROWS_WRITTEN, BLOCKS_WRITTEN, ROWS_REFUSED, WRITE_RETRIES, INSERT_SECONDS, END_TO_END),
    ),
    ("How the job is", (HEALTHY, READY, CONDITION, LAST_PROGRESS, BUILD_INFO)),
)
AREAS = (*_JOB_AREAS, ("What is delivered", DELIVERED))

METRICS: tuple[Metric, ...] = tuple(metric for _, metrics in AREAS for metric in metrics)
#: What a process of `andon run` reports.
JOB_METRICS: tuple[Metric, ...] = tuple(metric for _, metrics in _JOB_AREAS for metric in metrics)
#: What `andon deliver` reports: without `HEALTHY`, so that its being there does not hide that the job is not.
DELIVERY_METRICS: tuple[Metric, ...] = (*DELIVERED, READY, CONDITION, LAST_PROGRESS, BUILD_INFO)
