using Rlhf.Runtime.Native;

namespace Rlhf.Tests.Runtime;

/// <summary>Threads of libtorch sleep at barriers while others need the machine, and spin again afterwards.</summary>
public sealed class BarrierSpinTests
{
    private static readonly string[] Before =
    [
        "cpu  400 0 100 1000 0 0 0 0 0 0",
        "cpu0 100 0 50 500 7 1 2 3 0 0",
        "cpu1 300 0 50 500 9 0 0 0 50 0",
        "intr 12345",
    ];

    private static readonly string[] After =
    [
        "cpu  400 0 100 1000 0 0 0 0 0 0",
        "cpu0 200 10 60 500 900 2 3 4 0 0", // 100 + 10 + 10 + 1 + 1 + 1 hundredths more
        "cpu1 340 0 55 600 9 0 0 0 50 0", // 45 more
        "intr 12345",
    ];

    [Theory]
    [InlineData("0-1", 2, 1.68)]
    [InlineData("0", 1, 1.23)]
    [InlineData("1,5-7", 1, 0.45)]
    public void WhatProcessorsDidIsReadFromTheKernelsFigures(string allowed, int processors, double busySeconds)
    {
        var list = ProcessorUse.ReadList(allowed);
        var before = ProcessorUse.Read(Before, list, own: 10, moment: 0);
        var after = ProcessorUse.Read(After, list, own: 10.2, moment: System.Diagnostics.Stopwatch.Frequency * 2);

        Assert.Equal(processors, after.Processors);
        Assert.Equal(busySeconds, after.Busy - before.Busy, 9);
        Assert.Equal((busySeconds - 0.2) / 2, after.OthersSince(before), 9);
    }

    [Theory]
    [InlineData("0", new[] { 0 })]
    [InlineData("0-3,8\n", new[] { 0, 1, 2, 3, 8 })]
    [InlineData("", new int[0])]
    public void ListsOfProcessorsAreReadAsTheKernelWritesThem(string text, int[] expected) =>
        Assert.Equal(expected, ProcessorUse.ReadList(text).Order());

    [Fact]
    public void ThreadsSleepWhileOthersNeedTheMachineAndSpinAfterwards()
    {
        LibTorch.Initialize();
        var spin = BarrierSpin.Load();
        Assert.SkipWhen(spin is null, "libtorch's threads are not libgomp's here.");

        spin.Note(free: 1.1, threads: 2);
        Assert.False(spin.IsThrottled); // one look may be chance
        spin.Note(free: 1.1, threads: 2);
        Assert.True(spin.IsThrottled);
        for (int look = 0; look < 7; look++)
            spin.Note(free: 1.9, threads: 2);
        Assert.True(spin.IsThrottled);
        spin.Note(free: 1.9, threads: 2);
        Assert.False(spin.IsThrottled);
    }

    [Fact]
    public void OneThreadHasNoBarriers()
    {
        LibTorch.Initialize();
        var spin = BarrierSpin.Load();
        Assert.SkipWhen(spin is null, "libtorch's threads are not libgomp's here.");

        spin.Note(free: 0.2, threads: 1);
        spin.Note(free: 0.2, threads: 1);
        Assert.False(spin.IsThrottled);
    }

    [Fact]
    public void ATeamThatSleepsIsThereWhileTheMachineIsCrowded()
    {
        LibTorch.Initialize();
        var spin = BarrierSpin.Load();
        Assert.SkipWhen(spin is null, "libtorch's threads are not libgomp's here.");

        spin.Note(0, 2);
        spin.Note(0, 2);
        try
        {
            // libgomp names its threads after the one that made the team.
            Assert.True(SpinWait.SpinUntil(() => Teams() >= Environment.ProcessorCount, TimeSpan.FromMinutes(5)));
        }
        finally
        {
            for (int look = 0; look < 8; look++)
                spin.Note(2, 2);
        }
        Assert.True(SpinWait.SpinUntil(() => Teams() == 0, TimeSpan.FromMinutes(5)));

        static int Teams() => Directory.EnumerateDirectories("/proc/self/task").Count(task =>
        {
            try
            {
                return File.ReadAllText(Path.Combine(task, "comm")).StartsWith("rlhf sleeping", StringComparison.Ordinal);
            }
            catch (IOException)
            {
                return false; // it has just ended
            }
        });
    }
}
