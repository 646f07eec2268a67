#include "env/torch_version.h"

#include <gtest/gtest.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

TEST(TorchVersion, IsReadFromTheBeginningOfItsText) {
  EXPECT_EQ(parse_torch_version("2.13.0+cu130"), (TorchVersion{2, 13}));
  EXPECT_EQ(parse_torch_version("1.13.0a0"), (TorchVersion{1, 13}));
  for (const char* text : {"", "2", "2.", "x.y", ".1"})
    EXPECT_EQ(parse_torch_version(text), std::nullopt) << text;
}

TEST(TorchVersion, IsFoundInAVirtualEnvironment) {
  const TempDir dir;
  dir.write("venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n");
  const auto python = dir.write("venv/bin/python3", "");
  dir.write("venv/lib/python3.11/site-packages/torch/version.py",
            "from typing import Optional\n__all__ = ['__version__']\n__version__ = '2.13.0+cpu'\n");
  EXPECT_EQ(installed_torch(python, Variables()), (TorchVersion{2, 13}));
}

TEST(TorchVersion, AVirtualEnvironmentMayShareTheBaseInterpretersPackages) {
  const TempDir dir;
  const auto base = dir.write("base/bin/python3", "").parent_path();
  dir.write("base/lib/python3.9/site-packages/torch/version.py", "__version__ = \"1.12.1\"\n");
  dir.write("venv/pyvenv.cfg",
            "home = " + base.string() + "\ninclude-system-site-packages = true\n");
  EXPECT_EQ(installed_torch(dir.write("venv/bin/python3", ""), Variables()), (TorchVersion{1, 12}));
}

TEST(TorchVersion, PythonPathComesFirst) {
  const TempDir dir;
  const auto python = dir.write("bin/python3", "");
  dir.write("lib/python3.9/site-packages/torch/version.py", "__version__ = '1.12.1'\n");
  dir.write("mine/torch/version.py", "__version__ = '2.14.0'\n");
  const Variables environment({{"PYTHONPATH", ":/nowhere:" + (dir.path() / "mine").string()}});
  EXPECT_EQ(installed_torch(python, environment), (TorchVersion{2, 14}));
  EXPECT_EQ(installed_torch(python, Variables()), (TorchVersion{1, 12}));
}

TEST(TorchVersion, WhatIsNoPythonHasNone) {
  const TempDir dir;
  dir.write("lib/python3.9/site-packages/torch/version.py", "__version__ = '1.12.1'\n");
  EXPECT_EQ(installed_torch(dir.write("bin/bash", ""), Variables()), std::nullopt);
}

TEST(TorchVersion, TheVariableForNcclErrorsWasRenamedIn22) {
  EXPECT_EQ(nccl_error_handling_variable(TorchVersion{2, 1}), "NCCL_ASYNC_ERROR_HANDLING");
  EXPECT_EQ(nccl_error_handling_variable(TorchVersion{2, 2}), "TORCH_NCCL_ASYNC_ERROR_HANDLING");
  EXPECT_EQ(nccl_error_handling_variable(std::nullopt), "TORCH_NCCL_ASYNC_ERROR_HANDLING");
}

}  // namespace
}  // namespace megalaunch
