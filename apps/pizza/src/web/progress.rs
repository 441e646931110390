//! How an order's progress is shown.

use std::borrow::Cow;

use super::date_time::DateTime;
use super::pizza::slug;
use crate::orders::StoredOrder;
use crate::status::Status;

/// The steps that a customer sees, and the furthest status that reaches each.
const STEPS: [(&str, Status); 4] = [
    ("Received", Status::ORDERED),
    ("In the oven", Status::IN_THE_OVEN),
    ("On its way", Status::OUT_FOR_DELIVERY),
    ("Delivered", Status::DELIVERED),
];

/// An order as its customer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OrderView {
    pub(super) id: String,
    /// What the customer reads.
    pub(super) label: Cow<'static, str>,
    /// Words beside the label, where it alone would leave a question.
    pub(super) hint: Option<&'static str>,
    /// How it looks: `way`, `done`, `cancelled` or `trouble`.
    pub(super) mood: &'static str,
    pub(super) steps: [Milestone; 4],
    pub(super) can_be_cancelled: bool,
    pub(super) is_final: bool,
    pub(super) ordered_at: DateTime,
    pub(super) progressed_at: DateTime,
    pub(super) sauce: Ingredient,
    pub(super) cheese: Ingredient,
    pub(super) main_topping: Ingredient,
    pub(super) extra_toppings: Vec<Ingredient>,
}

/// A part of the pizza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ingredient {
    pub(super) label: String,
    /// Its name in style sheets.
    pub(super) slug: String,
}

/// One step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Milestone {
    pub(super) label: &'static str,
    /// `done`, `now` or `next`.
    pub(super) state: &'static str,
}

impl OrderView {
    pub(super) fn of(stored: &StoredOrder) -> Self {
        let (order, track) = (&stored.order, &stored.track);
        let status = track.progress.status;
        let hint = match status {
            Status::ORDERED if !track.is_published => {
                Some("The kitchen has not confirmed it yet; we keep calling.")
            }
            Status::LOST => Some("We have heard nothing of it for a while. It may still turn up."),
            _ => None,
        };
        Self {
            id: stored.id.to_string(),
            label: status.label(),
            hint,
            mood: mood(status),
            steps: steps(track.progress.furthest, status),
            can_be_cancelled: can_be_cancelled(stored),
            is_final: status.is_final(),
            ordered_at: DateTime::of(stored.ordered_at),
            progressed_at: DateTime::of(track.progressed_at),
            sauce: Ingredient::of(&order.sauce),
            cheese: Ingredient::of(&order.cheese),
            main_topping: Ingredient::of(&order.main_topping),
            extra_toppings: order
                .extra_toppings
                .iter()
                .map(|label| Ingredient::of(label))
                .collect(),
        }
    }
}

impl Ingredient {
    fn of(label: &str) -> Self {
        Self { label: label.to_owned(), slug: slug(label) }
    }
}

/// Whether a cancellation could still come before the oven.
pub(super) fn can_be_cancelled(stored: &StoredOrder) -> bool {
    stored.track.progress.told(Status::CANCELLED).is_some()
}

const fn mood(status: Status) -> &'static str {
    match status {
        Status::DELIVERED => "done",
        Status::CANCELLED => "cancelled",
        Status::ORDERED | Status::IN_THE_OVEN | Status::OUT_FOR_DELIVERY | Status::PENDING => "way",
        _ => "trouble",
    }
}

fn steps(furthest: Status, status: Status) -> [Milestone; 4] {
    // While its order is being checked, a baked pizza waits to leave.
    let furthest = if furthest == Status::PENDING { Status::OUT_FOR_DELIVERY } else { furthest };
    let reached = STEPS.iter().position(|(_, step)| *step == furthest).unwrap_or_default();
    let mut index = 0;
    STEPS.map(|(label, _)| {
        let state = match index {
            _ if index < reached || (index == reached && status.is_final()) => "done",
            _ if index == reached => "now",
            _ => "next",
        };
        index += 1;
        Milestone { label, state }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_show_how_far_an_order_is() {
        for (furthest, status, expected) in [
            (Status::ORDERED, Status::ORDERED, ["now", "next", "next", "next"]),
            (Status::IN_THE_OVEN, Status::LOST, ["done", "now", "next", "next"]),
            (Status::PENDING, Status::PENDING, ["done", "done", "now", "next"]),
            (Status::DELIVERED, Status::DELIVERED, ["done", "done", "done", "done"]),
            (Status::ORDERED, Status::CANCELLED, ["done", "next", "next", "next"]),
        ] {
            assert_eq!(steps(furthest, status).map(|step| step.state), expected, "{status:?}");
        }
    }
}
