using System.Runtime.CompilerServices;
using Rlhf.Runtime;

namespace Rlhf.Tests;

internal static class TestSetup
{
    /// <summary>The models of the tests are tiny: more threads would only wait for each other.</summary>
    [ModuleInitializer]
    internal static void UseOneThread() => LibTorch.Initialize(threads: 1);
}
