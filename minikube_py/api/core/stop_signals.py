"""The signals by which a container may be asked to end, as upstream names them."""

from typing import Final

_PLAIN: Final = (
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT"
    " STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
)
LINUX: Final = frozenset(
    [
        *(f"SIG{name}" for name in _PLAIN.split()),
        *(f"SIGRTMINPLUS{number}" for number in range(1, 16)),
        *(f"SIGRTMAXMINUS{number}" for number in range(1, 15)),
    ]
)
