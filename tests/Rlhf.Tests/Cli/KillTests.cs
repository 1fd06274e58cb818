using System.Diagnostics;
using System.Globalization;

namespace Rlhf.Tests.Cli;

/// <summary>The real process, killed without warning at random moments, loses nothing but time.</summary>
/// <remarks>RLHF_TEST_KILLS sets the number of kills for each kind of training; 12 by default. RLHF_TEST_SEED repeats a run.</remarks>
public sealed class KillTests(ToyModels toys, ITestOutputHelper output) : IClassFixture<ToyModels>
{
    private static readonly int Kills = Setting("RLHF_TEST_KILLS", 12);
    private static readonly int Seed = Setting("RLHF_TEST_SEED", Environment.TickCount);

    public static TheoryData<string> Verbs() => [.. ResumableRuns.Verbs];

    [Theory]
    [MemberData(nameof(Verbs))]
    public void A_run_that_is_killed_again_and_again_ends_as_one_that_was_not(string verb)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Kills with SIGKILL.");
        var random = new Random(Seed);
        var clock = Stopwatch.StartNew();
        toys.Succeed([.. ResumableRuns.Command(verb), "--output", $"{verb}-whole"]);
        var length = clock.Elapsed;

        int kills = 0, inWrites = 0, runs = 0;
        while (kills < Kills)
        {
            string run = $"{verb}-killed-{++runs}";
            string[] command = [.. ResumableRuns.Command(verb), "--output", run, "--resume", "auto"];
            // A run with bad luck may be killed before each of its checkpoints: after some kills it is left to end.
            for (int attempts = 0; kills < Kills && attempts < 8; attempts++)
            {
                using var process = RlhfCommand.Start(toys.Folder, command);
                var kill = WaitToKill(process, toys.PathOf(run, "checkpoints"), random, length);
                if (kill == null)
                    break;
                kills++;
                inWrites += kill.Value ? 1 : 0;
            }
            toys.Succeed(command);
            ResumableRuns.AssertSame(toys.PathOf($"{verb}-whole"), toys.PathOf(run));
            Assert.Empty(Directory.GetDirectories(toys.PathOf(run, "checkpoints"), ".unfinished*"));
        }
        output.WriteLine($"{verb}: {kills} kills, {inWrites} of them inside the writing of a checkpoint, in {runs} runs; seed {Seed}");
    }

    /// <summary>Kills the process at a random moment, or while it writes a checkpoint.</summary>
    /// <returns>Whether it was writing a checkpoint; null when it ended before.</returns>
    private static bool? WaitToKill(Process process, string checkpoints, Random random, TimeSpan length)
    {
        var moment = length * random.NextDouble();
        bool atWrite = random.Next(2) == 0;
        int skip = random.Next(4), spin = random.Next(3000);
        // What an earlier kill has left is no writing.
        string? left = Writing(checkpoints), seen = left;
        for (var clock = Stopwatch.StartNew(); !process.HasExited;)
        {
            string? writing = Writing(checkpoints);
            bool begins = writing is not null && writing != seen;
            seen = writing ?? seen;
            if (atWrite ? begins && skip-- == 0 : clock.Elapsed >= moment)
            {
                Thread.SpinWait(spin);
                break;
            }
        }
        if (process.HasExited)
            return null;
        process.Kill();
        process.WaitForExit();
        return process.ExitCode == 0 ? null : Writing(checkpoints) is { } unfinished && unfinished != left;
    }

    private static string? Writing(string checkpoints)
    {
        try
        {
            return Directory.EnumerateDirectories(checkpoints, ".unfinished-checkpoint-*")
                .Select(path => $"{path} {Directory.GetCreationTimeUtc(path).Ticks}").FirstOrDefault();
        }
        catch (DirectoryNotFoundException)
        {
            return null;
        }
    }

    private static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out int value) ? value : otherwise;
}
