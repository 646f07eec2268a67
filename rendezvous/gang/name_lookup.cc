#include "rendezvous/gang/name_lookup.h"

#include <netdb.h>
#include <signal.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace megalaunch {
namespace {

namespace asio = boost::asio;
constexpr auto use_result = asio::as_tuple(asio::use_awaitable);

Result<NameLookup::Endpoints> ask_getaddrinfo(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0)
    return fail(Error::Kind::kUnavailable, "the name '{}' does not resolve: {}", host,
                ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  NameLookup::Endpoints endpoints;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    asio::ip::tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
    endpoint.resize(each->ai_addrlen);
    endpoint.port(port);
    endpoints.push_back(endpoint);
  }
  return endpoints;
}

}  // namespace

/// Shared with the thread that asks.
struct NameLookup::Question {
  std::mutex mutex;
  NameLookup* asker = nullptr;  ///< null once nobody wants the answer
  std::optional<Result<Endpoints>> answer;
};

NameLookup::NameLookup(asio::io_context& context, Ask ask)
    : context_(context), ask_(ask ? std::move(ask) : ask_getaddrinfo), timer_(context) {}

NameLookup::~NameLookup() {
  cancel();
}

void NameLookup::cancel() {
  timer_.cancel();
  const auto question = std::exchange(question_, nullptr);
  if (!question) return;
  const std::lock_guard lock(question->mutex);
  question->asker = nullptr;
}

asio::awaitable<Result<NameLookup::Endpoints>> NameLookup::resolve(std::string host, uint16_t port,
                                                                   milliseconds patience) {
  boost::system::error_code not_an_address;
  if (const auto address = asio::ip::make_address(host, not_an_address); !not_an_address)
    co_return Endpoints{{address, port}};
  if (!question_) ask_resolver(host, port);
  const auto question = question_;
  const auto take_answer = [&]() -> std::optional<Result<Endpoints>> {
    const std::lock_guard lock(question->mutex);
    if (question->answer && question_ == question) question_.reset();
    return std::move(question->answer);
  };
  if (auto answer = take_answer()) co_return std::move(*answer);
  timer_.expires_after(patience);
  co_await timer_.async_wait(use_result);
  if (auto answer = take_answer()) co_return std::move(*answer);
  co_return fail(Error::Kind::kTimeout,
                 "the name '{}' does not resolve: the resolver has not answered yet", host);
}

void NameLookup::ask_resolver(const std::string& host, uint16_t port) {
  question_ = std::make_shared<Question>();
  question_->asker = this;
  // Signals are for the thread that runs the context.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([question = question_, ask = ask_, host, port] {
    auto answer = ask(host, port);
    const std::lock_guard lock(question->mutex);
    question->answer = std::move(answer);
    // Under the lock: who asked is there, and the context with it.
    if (question->asker == nullptr) return;
    asio::post(question->asker->context_, [question] {
      const std::lock_guard again(question->mutex);
      if (question->asker != nullptr) question->asker->timer_.cancel();
    });
  }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace megalaunch
