#include "launcher/ranks/process_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

/// A child that runs a shell script with `variables` as its environment.
class Child {
 public:
  Child(const std::string& script, std::vector<std::string> variables,
        std::vector<std::string> arguments = {}) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    std::vector<std::string> words{"sh", "-c", script, "sh"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv, envp;
    for (std::string& word : words) argv.push_back(word.data());
    for (std::string& variable : variables) envp.push_back(variable.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    ::execve("/bin/sh", argv.data(), envp.data());
    ::_exit(127);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

std::string own_marker() {
  return "MEGALAUNCH_AGENT=tree-test-" + std::to_string(::getpid());
}

TEST(ProcessTree, FindsAProcessByItsVariableAndNoneByPartOfIt) {
  TempDir dir;
  const Child child("echo $$ > \"$1\"; exec /bin/sleep 600", {own_marker()}, {dir.path() / "pid"});
  ASSERT_TRUE(wait_until([&] { return pid_in(dir.path() / "pid") > 0; }));
  EXPECT_THAT(processes_with_variable(own_marker()), testing::ElementsAre(child.pid()));
  EXPECT_THAT(processes_with_variable(own_marker() + "0"), testing::IsEmpty());
  EXPECT_THAT(processes_with_variable(own_marker().substr(1)), testing::IsEmpty());
}

// Between the old program and the new one a process has no environment for a moment.
TEST(ProcessTree, FindsAProcessAlsoInTheMiddleOfExec) {
  const std::string again = "exec /bin/sh -c \"$0\" \"$0\"";
  const Child loop("exec /bin/sh -c \"$1\" \"$1\"", {own_marker() + "-loop"}, {again});
  ASSERT_TRUE(
      wait_until([&] { return command_line_of(loop.pid()).find("exec") != std::string::npos; }));
  for (int i = 0; i < 300; ++i)
    ASSERT_THAT(processes_with_variable(own_marker() + "-loop"), testing::ElementsAre(loop.pid()))
        << "look " << i;
}

}  // namespace
}  // namespace megalaunch
