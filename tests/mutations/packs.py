"""Guards of the pack formats: faults, detectors, redaction, selection."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

DETECTORS = "service/domain/detectors.py"
REDACTION = "service/domain/redaction.py"
COMPILED = "service/domain/packs/deciding/compiled.py"
TEST_DETECTORS = "tests/unit/domain/test_detectors.py"
TEST_DETECTION_AND_TAGS = "tests/unit/domain/test_detection_and_tags.py"
TEST_PACK_DIALECTS = "tests/unit/domain/test_pack_dialects.py"

MUTATIONS = (
    Mutation(
        "a key that is said twice is a fault",
        "service/domain/packs/reading/json_text.py",
        "if key in members:",
        "if False:",
        "tests/unit/domain/test_pack_documents.py",
    ),
    Mutation(
        "card numbers have a check digit",
        DETECTORS,
        " and bool(luhn.is_valid(digits))",
        "",
        TEST_DETECTORS,
    ),
    Mutation(
        "account numbers have check digits",
        DETECTORS,
        "if iban.is_valid(text[start:end], check_country=False):",
        "if True:",
        TEST_DETECTORS,
    ),
    Mutation(
        "a tool that needs a field gets it as it is",
        REDACTION,
        "old if here in self._readable else self._field(str(name), old, here)",
        "self._field(str(name), old, here)",
        TEST_DETECTORS,
    ),
    Mutation(
        "what stands under a sensitive name is masked in answers",
        REDACTION,
        "self._collect_named(payload, secrets)",
        "pass",
        TEST_DETECTORS,
    ),
    Mutation(
        "the surest rule comes first",
        "service/domain/packs/deciding/detection.py",
        "-rule.confidence",
        "rule.confidence",
        TEST_DETECTION_AND_TAGS,
    ),
    Mutation(
        "a tenant's changes of a tool are merged",
        COMPILED,
        'domain.model_copy(update={"tools": overridden(domain.tools, tenant.toolOverrides).tools})',
        "domain",
        TEST_DETECTION_AND_TAGS,
    ),
    Mutation(
        "a tenant can switch a detector off",
        COMPILED,
        "{*domain.detectorsOff, *tenant.detectorsOff}",
        "{*domain.detectorsOff}",
        TEST_DETECTION_AND_TAGS,
    ),
    Mutation(
        "what is rewritten is warned of",
        "service/domain/packs/dialects/shapes.py",
        "self.warnings.append(Fault(path, message))",
        "pass",
        TEST_PACK_DIALECTS,
    ),
    Mutation(
        "two spellings of one key are a fault",
        "service/domain/packs/dialects/normalisation.py",
        "if key != written and (key in value or key in renamed):",
        "if False:",
        TEST_PACK_DIALECTS,
    ),
    Mutation(
        "a condition has nothing to go by when none of its keys is there",
        "service/domain/selection.py",
        "not condition.compares & present",
        "not condition.compares <= present",
        "tests/unit/domain/test_selection.py",
    ),
)
