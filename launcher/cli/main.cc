#include "launcher/cli/command.h"

int main(int argc, char** argv) {
  megalaunch::CommandContext context{megalaunch::Variables::of_this_process(),
                                     megalaunch::Log::to_stderr()};
  return megalaunch::run_command_line(argc, argv, context);
}
