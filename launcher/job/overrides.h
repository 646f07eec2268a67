#pragma once

#include <string>
#include <vector>

#include "env/variables.h"
#include "launcher/job/document.h"

namespace megalaunch {

/// Applies `--set a.b=c`: puts the value, read as YAML, in the place of key `a.b`, making the maps
/// on the way. A number in the path is the position in a list, from 0. `flag` is the text after
/// `--set`; it names the place of what it sets and must outlive the document. A path that does not
/// start with a key of the top level is one of the `megatron:` section, as complaints name those
/// keys.
void apply_override(Document& document, const std::string& flag,
                    const std::vector<std::string>& top_level_keys);

/// Replaces `${VAR}` and `${VAR:-default}` in all scalars. As in a shell, the default stands for a
/// variable that is unset or empty; `$${` gives a plain `${`; any other `$` stays. A variable that
/// is not set and has no default is a complaint.
void interpolate(Document& document, const Variables& environment);

}  // namespace megalaunch
