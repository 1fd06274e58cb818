using Microsoft.Playwright;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>The playground's conversation in a browser, by keys as well as by the pointer.</summary>
[Collection("toy chats")]
public sealed class PlaygroundChatPageTests(Chromium chromium, ToyChats toys)
{
    private readonly List<string> errors = [];

    [Fact]
    public async Task AConversationGoesOnForSeveralTurnsAndBeginsAgain()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options());
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        await Assertions.Expect(page.GetByRole(AriaRole.Radio, new() { Name = "Chat" })).ToBeCheckedAsync();
        await page.GetByLabel("System message").FillAsync("Be brief.");
        await page.GetByRole(AriaRole.Slider, new() { Name = "Length" }).FillAsync("10");
        var message = page.GetByLabel("Message", new() { Exact = true });
        await message.FillAsync("Hello");
        await message.PressAsync("Shift+Enter");
        await message.PressSequentiallyAsync("there");
        await message.PressAsync("Enter");
        await Answered(page, 1);
        await Assertions.Expect(page.Locator(".turn .said")).ToHaveTextAsync("You: Hello\nthere");
        await Assertions.Expect(message).ToHaveValueAsync("");
        await Assertions.Expect(message).ToBeFocusedAsync();
        await message.FillAsync("And you?");
        await message.PressAsync("Enter");
        await Answered(page, 2);
        Assert.NotEqual("as likely as before training", await page.Locator(".turn .after .token").First.GetAttributeAsync("data-why"));
        Assert.NotEmpty((await page.Locator(".turn[data-turn='2'] .after .writing").InnerTextAsync()).Trim());

        // Each token's shade is told by keys: one stop for each answer, and arrows within.
        await page.Locator(".turn[data-turn='2'] .after .token").First.FocusAsync();
        await page.Keyboard.PressAsync("End");
        await Assertions.Expect(page.Locator(".turn[data-turn='2'] .after .token").Last).ToBeFocusedAsync();
        await Assertions.Expect(page.Locator(".chart-tip.shown")).ToContainTextAsync("training");

        // Another seed answers the last message anew, and only that.
        string first = await page.Locator(".turn[data-turn='1']").InnerTextAsync(), second = await page.Locator(".turn[data-turn='2']").InnerTextAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Again with another seed" }).ClickAsync();
        await Assertions.Expect(page.Locator("#chat-seed")).ToHaveValueAsync("2");
        await Assertions.Expect(page.Locator(".turn[data-turn='2']")).Not.ToHaveTextAsync(second, new() { UseInnerText = true });
        await Answered(page, 2);
        Assert.Equal(first, await page.Locator(".turn[data-turn='1']").InnerTextAsync());
        await Assertions.Expect(page.Locator(".turn")).ToHaveCountAsync(2);

        await page.GetByRole(AriaRole.Button, new() { Name = "Start over" }).ClickAsync();
        await Assertions.Expect(page.Locator(".turn")).ToHaveCountAsync(0);
        await Assertions.Expect(page.GetByLabel("System message")).ToHaveValueAsync("Be brief.");
        Assert.Empty(errors);
    }

    [Fact]
    public async Task AnAnswerIsStoppedAndTheConversationGoesOn()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options());
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        // While somebody else has the models, an answer waits and can be stopped: then nothing was said.
        var turn = await studio.Service<Playground.ModelShelf>().TakeAsync(TestContext.Current.CancellationToken);
        var message = page.GetByLabel("Message", new() { Exact = true });
        await message.FillAsync("Hello");
        await message.PressAsync("Enter");
        await Assertions.Expect(page.GetByText("Another answer is being written")).ToBeVisibleAsync();
        await message.FillAsync("Too early");
        await message.PressAsync("Enter"); // does not interrupt
        await Assertions.Expect(message).ToHaveValueAsync("Too early");
        await message.FillAsync("");
        await page.GetByRole(AriaRole.Button, new() { Name = "Stop", Exact = true }).ClickAsync();
        await Assertions.Expect(page.GetByText("Stopped.")).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator(".turn")).ToHaveCountAsync(0);
        await Assertions.Expect(message).ToHaveValueAsync("Hello");
        turn.Dispose();
        await message.PressAsync("Enter");
        await Answered(page, 1);
        Assert.Empty(errors);
    }

    [Fact]
    public async Task WhatATemplateOrAModelRefusesIsSaidAndTheMessageIsStillThere()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options());
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        string much = string.Concat(Enumerable.Repeat("Hello there, friend. ", 20)).Trim();
        var message = page.GetByLabel("Message", new() { Exact = true });
        await message.FillAsync(much);
        await page.GetByRole(AriaRole.Button, new() { Name = "Send", Exact = true }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "the model reads at most 128" })).ToBeVisibleAsync();
        await Assertions.Expect(message).ToHaveValueAsync(much);
    }

    [Fact]
    public async Task WithoutATemplateThePageSaysWhyAndContinuesTexts()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options(before: "bare"));
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        await Assertions.Expect(page.GetByRole(AriaRole.Radio, new() { Name = "Chat" })).ToBeDisabledAsync();
        await Assertions.Expect(page.GetByText("bare has none")).ToBeVisibleAsync();
        await Assertions.Expect(page.GetByLabel("Beginning of a text")).ToBeVisibleAsync();
        Assert.Empty(errors);
    }

    [Fact]
    public async Task TheModeChangesByKeysAndEachKeepsItsPlace()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options());
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/playground");
        await page.GetByLabel("Message", new() { Exact = true }).FillAsync("Half a mess");
        await page.GetByRole(AriaRole.Radio, new() { Name = "Chat" }).FocusAsync();
        await page.Keyboard.PressAsync("ArrowLeft");
        await Assertions.Expect(page.GetByLabel("Beginning of a text")).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator("#message")).ToBeHiddenAsync();
        await page.Keyboard.PressAsync("ArrowRight");
        await Assertions.Expect(page.GetByLabel("Message", new() { Exact = true })).ToHaveValueAsync("Half a mess");
        Assert.Empty(errors);
    }

    private static async Task Answered(IPage page, int turn) =>
        await Assertions.Expect(page.Locator($".turn[data-turn='{turn}'] article[data-done=true]")).ToHaveCountAsync(2);
}
