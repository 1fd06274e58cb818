using System.Globalization;
using System.Text.RegularExpressions;
using Rlhf.Training.Ppo;
using static TorchSharp.torch;

namespace Rlhf.Tests.Docs;

/// <summary>The figure of docs/ppo.md is what the code computes.</summary>
public sealed class FigureTests
{
    private static readonly string Svg = File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "images", "ppo.svg"));

    [Theory]
    [InlineData(0, 0, 1, 0)]
    [InlineData(1, 250, -1, -1.6)]
    public void The_clipped_objective_is_drawn_as_it_is(int curve, double left, float advantage, double bottom)
    {
        foreach (var (ratio, value) in Curve(curve, left, (0.4, 1.6), (bottom, bottom + 1.6)))
        {
            using var scope = NewDisposeScope();
            var loss = PpoMath.PolicyLoss(tensor(Math.Log(ratio)), tensor(0.0), tensor((double)advantage), tensor(1.0), clipRange: 0.2);
            Assert.Equal(-loss.Losses.item<double>(), value, 0.01);
        }
    }

    [Fact]
    public void The_weights_of_GAE_are_drawn_as_they_are()
    {
        var rewards = new float[16];
        rewards[^1] = 1;
        var advantages = PpoMath.Advantages(new float[16], rewards, [0, 16], gamma: 1, lam: 0.95);
        Assert.Equal(16, Curve(2, 500, (0, 15), (0, 1)).Count);
        foreach (var (token, value) in Curve(2, 500, (0, 15), (0, 1)))
            Assert.Equal(advantages[(int)Math.Round(token)], value, 0.01);
    }

    /// <summary>The points of a curve of the first class, from pixels back to values: panels are 190 wide and 180 high.</summary>
    private static List<(double X, double Y)> Curve(int number, double left, (double From, double To) x, (double From, double To) y) =>
        [.. Regex.Matches(Svg, "<polyline points=\"([^\"]+)\" class=\"a\"/>")[number].Groups[1].Value.Split(' ')
            .Select(point => point.Split(',').Select(part => double.Parse(part, CultureInfo.InvariantCulture)).ToArray())
            .Select(p => (x.From + (p[0] - left - 40) / 190 * (x.To - x.From), y.From + (238 - p[1]) / 180 * (y.To - y.From)))];
}
