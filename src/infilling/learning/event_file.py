"""TensorBoard's events of a run, in one file for each start.

TensorBoard's own writer has a thread, which a full disk ends with a trace. Here events are written at once,
and a write that fails is a warning: the same figures are in `stats.jsonl`.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infilling.errors import describe_error

log = logging.getLogger(__name__)


class EventFile:
    """Events of one start; without TensorBoard, nothing is written.

    Args:
        run: the run's folder.
        step: step at which the run continues; TensorBoard drops later ones of earlier starts.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._writer: Any = None
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except ImportError:
            return
        self._make_event = Event
        self._summary: Any = summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        try:
            self._writer = RecordWriter((run / name).open("ab"))
        except OSError as error:
            log.warning("no TensorBoard events: %s", describe_error(error))
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add_scalars(self, row: Mapping[str, float], step: int) -> None:
        """Add figures by name."""
        if self._writer:
            parts = [self._summary.scalar(name, value) for name, value in row.items()]
            for part in parts[1:]:
                parts[0].value.extend(part.value)
            self._write(step=step, summary=parts[0])

    def add_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Add a picture, (H, W, 3)."""
        if self._writer:
            self._write(step=step, summary=self._summary.image(name, pixels, dataformats="HWC"))

    def add_code(self, name: str, code: str) -> None:
        """Add a text in a fixed font."""
        if self._writer:
            markdown = "\n".join(f"    {line}" for line in code.splitlines())
            self._write(step=0, summary=self._summary.text(name, markdown))

    def close(self) -> None:
        """End the file."""
        if self._writer:
            self._writer.close()

    def _write(self, **fields: Any) -> None:
        if not self._writer:
            return
        event = self._make_event(wall_time=time.time(), **fields)
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            log.warning("no more TensorBoard events: %s", describe_error(error))
            self._writer = None
