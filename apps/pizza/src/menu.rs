//! What a pizza can be made of.

/// The sauces, of which a pizza has one.
pub const SAUCES: [&str; 6] =
    ["Tomato", "Organic tomato", "Pesto", "Marinara", "Buffalo", "Hummus"];

/// The cheeses, of which a pizza has one.
pub const CHEESES: [&str; 6] =
    ["Mozzarella", "Provolone", "Cheddar", "Ricotta", "Gouda", "Gruyere"];

/// The main toppings, of which a pizza has one.
pub const MAIN_TOPPINGS: [&str; 6] =
    ["Pepperoni", "Sausage", "Chicken", "Pork", "Minced meat", "Vegan meat"];

/// The extra toppings, of which a pizza has any number.
pub const EXTRA_TOPPINGS: [&str; 6] =
    ["Mushroom", "Onion", "Egg", "Black olives", "Green pepper", "Fresh garlic"];
