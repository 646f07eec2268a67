#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/result.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// Asks the resolver for a name, and waits only for as long as somebody has patience: getaddrinfo()
/// may take minutes, and neither a time-out nor the end of the context waits for it. (Asio's own
/// resolver does both.) Internal to this folder; belongs to the thread that runs the context.
class NameLookup {
 public:
  using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;
  /// Called on a thread of its own, which outlives the lookup if it does not return.
  using Ask = std::function<Result<Endpoints>(const std::string& host, uint16_t port)>;

  explicit NameLookup(boost::asio::io_context& context, Ask ask = {});
  ~NameLookup();
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  /// The addresses of `host`. One call at a time; the object lives until it has returned. Fails
  /// when the name does not resolve (kUnavailable) or the resolver is silent (kTimeout). A question
  /// that is open is not asked twice: the next call waits for its answer.
  boost::asio::awaitable<Result<Endpoints>> resolve(std::string host, uint16_t port,
                                                    milliseconds patience);
  /// Ends resolve() now; nobody waits for the answer any more.
  void cancel();

 private:
  struct Question;
  void ask_resolver(const std::string& host, uint16_t port);

  boost::asio::io_context& context_;
  Ask ask_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<Question> question_;  ///< that is open, or answered and not fetched; null: none
};

}  // namespace megalaunch
