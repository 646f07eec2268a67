#include "launcher/ranks/spawn.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "env/unique_fd.h"
#include "launcher/ranks/wait_status.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

/// Starts programs one at a time, their output going to files.
class Spawn : public testing::Test {
 protected:
  SpawnRequest request(std::filesystem::path program, std::vector<std::string> argv) {
    SpawnRequest made;
    made.program = std::move(program);
    made.argv = std::move(argv);
    made.environment = {"PATH=/usr/bin:/bin"};
    made.cwd = dir_.path();
    made.stdin_fd = null_.get();
    made.stdout_fd = out_.get();
    made.stderr_fd = err_.get();
    return made;
  }
  SpawnRequest shell(const std::string& script) { return request("/bin/sh", {"sh", "-c", script}); }

  /// Runs it to its end; what it wrote to stdout.
  std::string output_of(const SpawnRequest& spec) {
    const auto pid = spawn(spec);
    EXPECT_TRUE(pid) << (pid ? "" : pid.error().message);
    if (!pid) return {};
    int raw_status = 0;
    EXPECT_EQ(::waitpid(*pid, &raw_status, 0), *pid);
    status_ = wait_status_from(raw_status);
    return read_file(dir_.path() / "out");
  }
  Error error_of(const SpawnRequest& spec) {
    const auto pid = spawn(spec);
    EXPECT_FALSE(pid);
    EXPECT_GT(::waitpid(-1, nullptr, 0), 0);  // the child that could not become the program
    return pid ? Error{} : pid.error();
  }

  UniqueFd open_file(const char* name) {
    return UniqueFd(::open((dir_.path() / name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  }

  TempDir dir_;
  UniqueFd null_{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  UniqueFd out_ = open_file("out");
  UniqueFd err_ = open_file("err");
  WaitStatus status_;
};

TEST_F(Spawn, PassesTheArgumentsAsTheyAre) {
  EXPECT_EQ(output_of(request(
                "/bin/sh", {"sh", "-c", "printf '<%s>' \"$@\"", "zero", "", "a b", "*", "\xff\n"})),
            "<><a b><*><\xff\n>");
}

TEST_F(Spawn, TheFirstArgumentIsTheNameAskedForAndNotThePath) {
  EXPECT_EQ(output_of(request("/bin/cat", {"renamed", "/proc/self/cmdline"})),
            std::string("renamed\0/proc/self/cmdline\0", 27));
}

TEST_F(Spawn, TheEnvironmentIsExactlyTheOneAskedFor) {
  auto spec = request("/usr/bin/env", {"env"});
  spec.environment = {"A=1", "B=x y=z", "EMPTY="};
  EXPECT_EQ(output_of(spec), "A=1\nB=x y=z\nEMPTY=\n");
}

TEST_F(Spawn, RunsInTheFolderAskedFor) {
  std::filesystem::create_directory(dir_.path() / "a folder");
  auto spec = request("/bin/pwd", {"pwd"});
  spec.cwd = dir_.path() / "a folder";
  EXPECT_EQ(output_of(spec), (dir_.path() / "a folder").string() + "\n");
}

TEST_F(Spawn, TheThreeDescriptorsGoWhereTheyWereSent) {
  EXPECT_EQ(output_of(shell("cat; echo out; echo err >&2")), "out\n");
  EXPECT_EQ(read_file(dir_.path() / "err"), "err\n");
}

TEST_F(Spawn, NoOtherDescriptorIsOpenInTheChild) {
  const UniqueFd inheritable(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC
  const UniqueFd high(::fcntl(inheritable.get(), F_DUPFD, 200));
  ASSERT_GE(high.get(), 200);
  EXPECT_EQ(output_of(shell("ls /proc/$$/fd; :")), "0\n1\n2\n");
}

TEST_F(Spawn, TheChildLeadsAProcessGroupOfItsOwn) {
  const auto pid = spawn(shell("cut -d' ' -f5 /proc/$$/stat; :"));
  ASSERT_TRUE(pid);
  ::waitpid(*pid, nullptr, 0);
  EXPECT_EQ(read_file(dir_.path() / "out"), std::to_string(*pid) + "\n");
}

TEST_F(Spawn, NoSignalIsBlockedOrIgnoredWhateverTheParentDoes) {
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  for (const int signal : {SIGUSR1, SIGTERM, SIGCHLD}) ::sigaddset(&blocked, signal);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto hangup = ::signal(SIGHUP, SIG_IGN);
  const auto pipe = ::signal(SIGPIPE, SIG_IGN);
  const std::string text =
      output_of(request("/bin/grep", {"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}));
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  ::signal(SIGHUP, hangup);
  ::signal(SIGPIPE, pipe);
  EXPECT_EQ(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  EXPECT_TRUE(::sigismember(&after, SIGUSR1)) << "the parent's own mask was changed";
  EXPECT_FALSE(::sigismember(&after, SIGINT)) << "the parent's own mask was changed";
}

TEST_F(Spawn, TheSoftLimitOfOpenFilesIsTheOneAskedFor) {
  auto spec = shell("ulimit -Sn; ulimit -Hn");
  spec.open_files = 77;
  rlimit ours{};
  ::getrlimit(RLIMIT_NOFILE, &ours);
  const std::string hard =
      ours.rlim_max == RLIM_INFINITY ? "unlimited" : std::to_string(ours.rlim_max);
  EXPECT_EQ(output_of(spec), "77\n" + hard + "\n");
}

TEST_F(Spawn, TheChildDiesWithItsParent) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]), write_end(ends[1]);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const auto child = spawn(shell("sleep 600"));
    const pid_t pid = child ? *child : 0;
    [[maybe_unused]] const auto count = ::write(write_end.get(), &pid, sizeof pid);
    for (;;) ::pause();
  }
  pid_t child = 0;
  ASSERT_EQ(::read(read_end.get(), &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ASSERT_TRUE(is_alive(child));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(wait_until([&] { return !is_alive(child); }));
}

TEST_F(Spawn, AMissingProgramIsAnErrorThatNamesItAndTheStep) {
  const Error error = error_of(request("/no/such/program", {"program"}));
  EXPECT_EQ(error.code, ENOENT);
  EXPECT_THAT(error.message, HasSubstr("start /no/such/program in " + dir_.path().string()));
  EXPECT_THAT(error.message, HasSubstr(": exec: No such file or directory"));
}

TEST_F(Spawn, AFileThatIsNoProgramIsAnError) {
  const auto file = dir_.write("notes.txt", "hello\n");
  EXPECT_EQ(error_of(request(file, {"notes"})).code, EACCES);
  ::chmod(file.c_str(), 0755);
  EXPECT_EQ(error_of(request(file, {"notes"})).code, ENOEXEC);
}

TEST_F(Spawn, AMissingFolderIsNotMistakenForAMissingProgram) {
  auto spec = shell("true");
  spec.cwd = "/no/such/folder";
  const Error error = error_of(spec);
  EXPECT_EQ(error.code, ENOENT);
  EXPECT_THAT(error.message, HasSubstr("in /no/such/folder: enter its folder: No such file"));
}

TEST_F(Spawn, ALimitThatCannotBeSetIsAnErrorThatSaysSo) {
  rlimit ours{};
  ::getrlimit(RLIMIT_NOFILE, &ours);
  if (ours.rlim_max == RLIM_INFINITY) GTEST_SKIP() << "nothing is above the hard limit here";
  auto spec = shell("true");
  spec.open_files = ours.rlim_max + 1;
  EXPECT_THAT(error_of(spec).message, HasSubstr("set the limit of open files: "));
}

TEST_F(Spawn, TwoHundredFailedStartsLeakNoDescriptor) {
  const auto open_now = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_now();
  for (int i = 0; i < 200; ++i) error_of(request("/no/such/program", {"program"}));
  EXPECT_EQ(open_now(), before);
}

}  // namespace
}  // namespace megalaunch
