"""The check of training programs by ``verify``: by a program's name, or its network's with the check ``program``."""

from __future__ import annotations

import pytest

import cnnbench
from cnnbench.errors import SpecError, SuiteError
from cnnbench.face.program_verification import asked_checks
from cnnbench.numerics.checks import CHECKS
from cnnbench.numerics.outcome import CheckOutcome, why_unproven


def names(network, *checks):
    own, programs = asked_checks(network, checks)
    return own, [plugin.name for plugin in programs]


def test_a_program_is_meant_by_its_name_or_by_its_network_s_and_the_check():
    assert names("dcgan_tiny") == ((), ["dcgan_tiny"])
    assert names("dcgan_generator_tiny") == (tuple(CHECKS), [])
    assert names("dcgan_generator_tiny", "program") == ((), ["dcgan_tiny"])
    assert names("dcgan_generator_tiny", "local", "program") == (("local",), ["dcgan_tiny"])
    assert names("conv_vae") == (tuple(CHECKS), ["conv_vae"])
    assert names("conv_vae", "local") == (("local",), [])


def test_what_no_program_trains_is_told_so():
    with pytest.raises(SuiteError, match="no training program trains lenet5"):
        names("lenet5", "program")
    with pytest.raises(SuiteError, match=r"has the check 'program' alone(.|\n)*dcgan_generator_tiny"):
        names("dcgan_tiny", "local")


def test_a_misspelt_program_is_found_among_programs_too():
    with pytest.raises(SpecError, match=r"unknown network or training program(.|\n)*did you mean 'dcgan_tiny'"):
        names("dcgan_tniy")
    for other in ("dcgan_tniy.yaml", "dcgan_generator_tin"):  # a file, and nearest to a network: told by who loads it
        assert names(other) == (tuple(CHECKS), [])


def test_a_program_that_is_checked_says_nothing_of_a_network_s_outputs():
    program = CheckOutcome(name="program", status="passed")
    assert why_unproven([program]) is None
    assert "ask for end_to_end" in str(why_unproven([program, CheckOutcome(name="local", status="passed")]))


@pytest.mark.slow
def test_a_program_is_verified_on_numpy():
    result = cnnbench.verify("conv_vae", backends=["numpy"], checks=["program"])
    (backend,) = result.backends
    assert [(outcome.name, outcome.status) for outcome in backend.outcomes] == [("program", "passed")]
    assert result.exit_code == 0
