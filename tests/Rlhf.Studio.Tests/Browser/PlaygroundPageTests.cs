using Microsoft.Playwright;
using Rlhf.Studio.Playground;
using Rlhf.Tests;
using Rlhf.Tests.Cli;

namespace Rlhf.Studio.Tests.Browser;

[Collection("toy models")]
public sealed class PlaygroundPageTests(Chromium chromium, ToyModels toys)
{
    private readonly List<string> errors = [];

    [Fact]
    public async Task BothModelsAnswerWithRewardsAndShades()
    {
        await using var studio = await StudioServer.StartAsync(Options());
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        await page.GetByLabel("Beginning of a text").FillAsync("The film");
        await page.GetByRole(AriaRole.Slider, new() { Name = "Length" }).FillAsync("12");
        await page.GetByLabel("Beginning of a text").PressAsync("Control+Enter");
        // Of this question: those of the one before stand there until the server has heard of the next.
        ILocator AnswersTo(int question) => page.Locator($".answers[data-question='{question}'] article[data-done=true]");
        var answers = AnswersTo(1);
        await Assertions.Expect(answers).ToHaveCountAsync(2);
        foreach (var answer in await answers.AllAsync())
        {
            await Assertions.Expect(answer.Locator(".writing")).ToContainTextAsync("The film");
            await Assertions.Expect(answer.Locator("[data-score=reward]"))
                .ToHaveTextAsync(new System.Text.RegularExpressions.Regex("^[+−][0-9.]+$"));
            Assert.InRange(await answer.Locator(".token").CountAsync(), 1, 12);
        }
        // The two models are the same here: same answers, and no token shaded.
        var texts = await page.Locator(".writing").AllInnerTextsAsync();
        Assert.Equal(texts[0], texts[1]);
        var tokens = answers.First.Locator(".token");
        await Assertions.Expect(tokens.First).ToHaveAttributeAsync("data-why", "as likely as before training");
        // What the shade means is told under the pointer, for a finger, and by keys: one stop, and arrows from token to token.
        var tip = page.Locator(".chart-tip.shown");
        await tokens.First.HoverAsync();
        await Assertions.Expect(tip).ToHaveTextAsync("as likely as before training");
        await page.Locator("h1").HoverAsync();
        await Assertions.Expect(tip).ToHaveCountAsync(0);
        await tokens.First.ClickAsync();
        await page.Locator("h1").HoverAsync();
        await Assertions.Expect(tip).ToHaveCountAsync(1); // stays with the focus
        await page.Locator("#prompt").FocusAsync();
        await Assertions.Expect(tip).ToHaveCountAsync(0);
        await tokens.First.FocusAsync();
        await page.Keyboard.PressAsync("End");
        await Assertions.Expect(tokens.Last).ToBeFocusedAsync();
        await Assertions.Expect(tip).ToHaveTextAsync("as likely as before training");
        await Assertions.Expect(answers.First.Locator(".token[tabindex='0']")).ToHaveCountAsync(1);
        await page.Keyboard.PressAsync("Escape");
        await Assertions.Expect(tip).ToHaveCountAsync(0);
        // The same seed answers alike, another differently.
        await page.GetByRole(AriaRole.Button, new() { Name = "Answer", Exact = true }).ClickAsync();
        await Assertions.Expect(AnswersTo(2)).ToHaveCountAsync(2);
        Assert.Equal(texts, await page.Locator(".writing").AllInnerTextsAsync());
        await page.GetByRole(AriaRole.Button, new() { Name = "Again with another seed" }).ClickAsync();
        await Assertions.Expect(page.Locator("#seed")).ToHaveValueAsync("2");
        await Assertions.Expect(AnswersTo(3)).ToHaveCountAsync(2);
        Assert.NotEqual(texts, await page.Locator(".writing").AllInnerTextsAsync());
        Assert.Empty(errors);
    }

    [Fact]
    public async Task WhatDoesNotFitIsSaidOnThePage()
    {
        await using var studio = await StudioServer.StartAsync(Options());
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        await page.GetByLabel("Beginning of a text").FillAsync(string.Concat(Enumerable.Repeat("The film was long. ", 20)));
        await page.GetByRole(AriaRole.Button, new() { Name = "Answer", Exact = true }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "the model reads 64" })).ToBeVisibleAsync();
    }

    [Fact]
    public async Task LeavingEndsTheAnswerAndLetsTheNextOneBegin()
    {
        await using var studio = await StudioServer.StartAsync(Options());
        var (models, choices) = (studio.Service<SideBySide>(), studio.Service<ModelChoices>());
        Question question = new("The", choices.List()[0], new() { MaxNewTokens = 50 }, 3);
        using var leaving = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var happened in models.Answer(question, leaving.Token))
                if (happened is TokenChosen)
                    await leaving.CancelAsync();
        });
        var answered = await models.Answer(question).OfType<Answered>().ToListAsync();
        Assert.Equal([Side.Base, Side.Aligned], answered.Select(a => a.Side));
        Assert.All(answered, a => Assert.Equal(0, a.LogRatio!.Value, 4));
        // Somebody who leaves in the middle without a word does not keep the models either.
        await foreach (var happened in models.Answer(question))
            if (happened is TokenChosen)
                break;
        Assert.Equal(2, (await models.Answer(question).OfType<Answered>().ToListAsync()).Count);
    }

    [Fact]
    public async Task ARunsSettingsLeadNowhereOutside()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string run = StudioServer.MakeRun(folder.Path, "one");
        string policy = Path.Combine(toys.Folder, "policy");
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, ShippedModel = "/models/imdb-gpt2-tiny" });
        var choices = studio.Service<ModelChoices>();
        Assert.Equal("/models/imdb-gpt2-tiny", choices.BaseOf("one"));
        File.WriteAllText(Path.Combine(run, "config.yaml"), $"# rlhf ppo --config\nmodel: \"{policy}\"\n"); // exists, outside
        File.SetLastWriteTimeUtc(Path.Combine(run, "config.yaml"), DateTime.UtcNow.AddMinutes(1));
        Assert.Null(choices.BaseOf("one"));
        string inside = Path.Combine(folder.Path, "base", "model");
        Directory.CreateDirectory(inside);
        File.Copy(Path.Combine(policy, "config.json"), Path.Combine(inside, "config.json"));
        File.WriteAllText(Path.Combine(run, "config.yaml"), $"# rlhf ppo --config\nmodel: \"{Path.Combine(folder.Path, "base")}\"\n");
        File.SetLastWriteTimeUtc(Path.Combine(run, "config.yaml"), DateTime.UtcNow.AddMinutes(2));
        Assert.Equal(inside, choices.BaseOf("one"));
    }

    private StudioOptions Options() => new()
    {
        RunsFolder = toys.PathOf("no-runs"),
        Model = toys.PathOf("policy"),
        BaseModel = toys.PathOf("policy"),
        RewardModel = toys.PathOf("classifier"),
    };
}
