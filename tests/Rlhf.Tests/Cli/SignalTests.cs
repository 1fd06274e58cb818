using System.Diagnostics;

namespace Rlhf.Tests.Cli;

/// <summary>Signals that are handled leave no trace in a training.</summary>
public sealed class SignalTests
{
    /// <summary>
    /// With the models that ship and oneDNN, whose kernels for matrices of their size point the stack pointer into the heap; .NET's handlers
    /// would write there. Toy models are too small for these kernels.
    /// </summary>
    [Fact]
    public void A_training_under_a_storm_of_signals_ends_the_same()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Signals are those of Linux.");
        using var folder = new Fixtures.TemporaryFolder();
        Process Train(string name) => RlhfCommand.Start(folder.Path, new Dictionary<string, string> { ["RLHF_MATMUL"] = "onednn" },
            "ppo", "--steps", "6", "--batch-size", "16", "--mini-batch-size", "8", "--eval-queries", "4", "--threads", "1",
            "--output", Path.Combine(folder.Path, name));
        using (var quiet = Train("quiet"))
            Assert.Equal(0, RlhfCommand.Finish(quiet).ExitCode);

        using var disturbed = Train("disturbed");
        ResumableRuns.WaitForSteps(disturbed, Path.Combine(folder.Path, "disturbed"), 1); // its handlers are there
        using var storm = Process.Start("bash", ["-c", $"while kill -CONT {disturbed.Id} 2> /dev/null; do sleep 0.01; done"]);
        var result = RlhfCommand.Finish(disturbed);
        storm.WaitForExit();
        Assert.True(result.ExitCode == 0, $"It ended with {result.ExitCode}: {result.Error}");
        ResumableRuns.AssertSame(Path.Combine(folder.Path, "quiet"), Path.Combine(folder.Path, "disturbed"));
    }
}
