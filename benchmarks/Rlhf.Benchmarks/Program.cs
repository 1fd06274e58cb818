using BenchmarkDotNet.Running;

// In this process: another one would have to be built and restored first.
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run([.. args, "--inProcess"]);
