// Stands behind the text of the kernels: their names, and how their arguments are taken.

#include <tuple>

#include "machine.h"

namespace emulated {

template <class... Arguments, size_t... Index>
std::function<void()> with_copies(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Index...>) {
  std::tuple<std::remove_const_t<Arguments>...> copies(*static_cast<Arguments*>(arguments[Index])...);
  return [=] { std::apply(kernel, copies); };
}

template <auto kernel>
struct Bound;
template <class... Arguments, void (*kernel)(Arguments...)>
struct Bound<kernel> {
  static std::function<void()> bind(void** arguments) {
    return with_copies(kernel, arguments, std::index_sequence_for<Arguments...>());
  }
};

#define ENTRY(name) {#name, name##_threads, Bound<name>::bind}
const Kernel KERNELS[] = {
    ENTRY(embed), ENTRY(rms_norm), ENTRY(rotate), ENTRY(attend),
    ENTRY(swiglu), ENTRY(swiglu_lora), ENTRY(sample),
};
const size_t KERNEL_COUNT = sizeof KERNELS / sizeof *KERNELS;

}  // namespace emulated
