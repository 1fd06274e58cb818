using Rlhf.Faults;
using Rlhf.Runtime;

namespace Rlhf.Tests.Runtime;

public sealed class FaultPlanTests
{
    [Theory]
    [InlineData("nan-loss@7", new long[] { 7 })]
    [InlineData("nan-loss@2-4", new long[] { 2, 3, 4 })]
    [InlineData("nan-loss@8-", new long[] { 8, 9 })]
    [InlineData("nan-loss", new long[] { 1, 2, 3, 4, 5, 6, 7, 8, 9 })]
    [InlineData("nan-reward, nan-loss@1,nan-loss@9", new long[] { 1, 9 })]
    [InlineData("nan-reward", new long[0])]
    [InlineData("", new long[0])]
    [InlineData(null, new long[0])]
    public void FaultsStrikeAtTheStepsThatWereNamed(string? plan, long[] steps) =>
        Assert.Equal(steps, Enumerable.Range(1, 9).Select(i => (long)i).Where(step => FaultPlan.Parse(plan).Strikes("nan-loss", step)));

    [Theory]
    [InlineData("nan")]
    [InlineData("nan-loss@")]
    [InlineData("nan-loss@-3")]
    [InlineData("nan-loss@1-2-3")]
    [InlineData("nan-loss@1@2")]
    [InlineData("nan-loss@one")]
    [InlineData("nan-loss,")]
    public void APlanThatCannotBeReadIsRefused(string plan) =>
        Assert.Contains(FaultPlan.Variable, Assert.Throws<ConfigurationException>(() => FaultPlan.Parse(plan)).Message, StringComparison.Ordinal);
}
