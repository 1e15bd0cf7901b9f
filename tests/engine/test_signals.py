"""SIGINT, SIGTERM and SIGHUP ask; a second one acts."""

import signal

import pytest

from lsoftmax.engine import signals
from lsoftmax.engine.signals import Interrupted, StopRequest

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def test_without_a_signal_nothing_stops():
    with StopRequest() as stop:
        stop.check()


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_is_remembered_until_it_is_asked_for(signum):
    with StopRequest() as stop:
        signal.raise_signal(signum)
        with pytest.raises(Interrupted, match=f"stopped by {signal.Signals(signum).name}") as caught:
            stop.check()
    assert caught.value.signum == signum


def test_a_second_signal_acts_at_once(monkeypatch):
    monkeypatch.setattr(signals, "TOGETHER", 0.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts without it
    try:
        with StopRequest():
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_comes_twice_together_asks_once():
    """As from a scheduler and from the process that began the run."""
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            stop.check()


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_handlers_before_are_put_back(signum):
    before = signal.getsignal(signum)
    with StopRequest():
        assert signal.getsignal(signum) != before
    assert signal.getsignal(signum) == before


def test_the_handlers_before_are_put_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), StopRequest():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(("handler", "asks"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_asks_but_under_nohup(handler, asks):
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with StopRequest() as stop:
            assert (signal.getsignal(signal.SIGHUP) != handler) == asks
            signal.raise_signal(signal.SIGHUP)
            assert stop.signum == (signal.SIGHUP if asks else None)
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)
