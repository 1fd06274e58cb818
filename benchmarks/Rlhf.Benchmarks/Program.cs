using BenchmarkDotNet.Running;
using Rlhf.Benchmarks;

if (args is ["serve", .. var rest])
    return await ServingBenchmark.RunAsync(rest);
// In this process: another one would have to be built and restored first.
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run([.. args, "--inProcess"]);
return 0;
