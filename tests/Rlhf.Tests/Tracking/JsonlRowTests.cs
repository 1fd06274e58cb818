using System.Text;
using Rlhf.Runs;
using Rlhf.Tracking;

namespace Rlhf.Tests.Tracking;

public sealed class JsonlRowTests
{
    private static JsonlRow? Parse(string line) => JsonlRow.Parse(Encoding.UTF8.GetBytes(line));

    [Fact]
    public void ARowHasItsStepItsNumbersAndItsTexts()
    {
        var row = Parse("""{"step":7,"time":"2026-01-02T03:04:05.000Z","a":-1.5e-3,"b":"NaN","c":"-Infinity","d":[1,{"a":2}],"e":null,"f":true}""")!;
        Assert.Equal(7, row.Step);
        Assert.Equal([("a", -1.5e-3), ("b", double.NaN), ("c", double.NegativeInfinity)], row.Numbers.Select(n => (n.Key, n.Value)));
        Assert.Equal("2026-01-02T03:04:05.000Z", row.Texts["time"]);
        Assert.Equal(new RunSample(7, "q", "NaN", double.NaN), RunSample.Of(Parse("""{"step":7,"query":"q","response":"NaN","reward":null}""")));
        Assert.Null(RunSample.Of(Parse("""{"step":7,"table":"warnings","message":"KL is high"}""")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[1]")]
    [InlineData("null")]
    [InlineData("""{"a":1}""")]
    [InlineData("""{"step":-1}""")]
    [InlineData("""{"step":"1"}""")]
    [InlineData("""{"step":1.5}""")]
    [InlineData("""{"step":1,"ti""")]
    [InlineData("""{"step":1}{"step":2}""")]
    [InlineData("""{"step":1,"\ud800":1}""")] // no Unicode
    [InlineData("""{"step":1,"response":"\udc00"}""")]
    public void WhatIsNoRowIsNone(string line) => Assert.Null(Parse(line));

    [Fact]
    public void StepsNeverGoBackAndTheLastValueOfAStepCounts()
    {
        var history = new MetricHistory();
        foreach (var line in (string[])["""{"step":1,"a":1}""", """{"step":2,"a":2,"b":5}""", """{"step":1,"a":9}""", "rubbish", """{"step":2,"a":3}"""])
            history.Add(Parse(line));
        Assert.Equal([(1L, 1.0), (2, 3)], history["a"].Steps.Zip(history["a"].Values));
        Assert.Equal((2, 3.0, 5.0), (history.LastStep, history.Latest["a"], history.Latest["b"]));
        Assert.Same(MetricSeries.None, history["c"]);
    }
}
