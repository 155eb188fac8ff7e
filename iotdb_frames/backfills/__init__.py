"""Files to IoTDB: resumable, and proven. (`iotdb_frames.backfill` is the call; this is its room.)

A job walks its sources in *units*: a range of rows or bytes that is one frame. What a unit is and
what became of it is a row of the *manifest*, written before the unit is sent and after it is
acknowledged. Rows overwrite themselves, so a unit in doubt is simply sent again; units go out in
the order of the manifest, so the last of two rows with one (device, time) is the last of the
sources too, however often the job was killed.

    frames_in.py    frames that a program makes; files are read by `iotdb_frames.files`
    options.py      what was asked
    survey.py       a look at all files before anything is sent
    manifest.py     the SQLite file of units
    run.py          read, plan, send, and note what was answered
    letters.py      rows that do not fit
    expect.py       what a unit leaves in the database
    verify.py       count it, or read it back; compare.py does that
    work.py         one call of `backfill`: compare with the manifest, send, verify
    job.py          `backfill`, `plan_backfill`, `BackfillJob`
"""
