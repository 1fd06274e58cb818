using System.Runtime.CompilerServices;
using Rlhf.Runtime.Native;

namespace Rlhf.Tests;

internal static class TestSetup
{
    /// <summary>The models of the tests are tiny: more threads would only wait for each other.</summary>
    [ModuleInitializer]
    internal static void UseOneThread() => LibTorch.Initialize(threads: 1);

    /// <summary>Lets go of what earlier tests left to the finalizer, so that live tensors can be counted.</summary>
    internal static void CollectGarbage()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }
}
